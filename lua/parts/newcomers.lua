-- How many more people a HyperLogLog knows than were counted, now that `person` was seen.
local function newcomers(log, person, counted)
  if redis.call('PFADD', log, person) == 0 then return 0 end
  if redis.call('TTL', log) < 0 then redis.call('EXPIRE', log, 172800) end
  return math.max(redis.call('PFCOUNT', log) - tonumber(counted or 0), 0)
end

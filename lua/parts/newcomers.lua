-- How many more people a HyperLogLog knows than were counted, now that `person` was seen;
-- also where that one was known, since a click may have been taken back.
local function newcomers(log, person, counted)
  if redis.call('PFADD', log, person) == 1 and redis.call('TTL', log) < 0 then
    redis.call('EXPIRE', log, 172800)
  end
  return math.max(redis.call('PFCOUNT', log) - tonumber(counted or 0), 0)
end

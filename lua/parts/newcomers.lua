-- How many more people a HyperLogLog knows than were counted, now that `person` was seen,
-- and how many it knows. Where no count of its day is kept (clocks differ, at midnight),
-- everybody whom it knew before is taken as counted.
local function newcomers(log, person, counted)
  counted = tonumber(counted or redis.call('PFCOUNT', log))
  if redis.call('PFADD', log, person) == 1 and redis.call('TTL', log) < 0 then
    redis.call('EXPIRE', log, 172800)
  end
  local known = redis.call('PFCOUNT', log)
  return math.max(known - counted, 0), known
end

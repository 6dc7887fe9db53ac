-- One more of a counter: of the session, of its day and of the link. The first of a day
-- drops the days that are too old.
local function count(counter, by)
  redis.call('HINCRBY', stats, counter, by)
  redis.call('HINCRBY', links, code .. ':' .. counter, by)
  if redis.call('HINCRBY', daily, day .. ':' .. counter, by) == by then
    for _, field in ipairs(redis.call('HKEYS', daily)) do
      if field < oldest then redis.call('HDEL', daily, field) end
    end
  end
end

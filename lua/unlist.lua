#!lua flags=allow-oom
-- A session that is gone goes from its owner's list, and its room is free again.
-- KEYS: sessions, sizes.  ARGV: session id.  Reply: 1 where it was listed.
-- Race closed: room that is given back twice.
local size = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
if redis.call('HDEL', KEYS[2], ARGV[1]) == 1 then
  redis.call('HINCRBY', KEYS[2], 'total', 0 - size)  -- Redis takes no -0
end
return redis.call('ZREM', KEYS[1], ARGV[1])

#!lua flags=allow-oom
-- An attempt is counted against a limit; the window begins with the first. Who only looks
-- leaves nothing: else whoever is refused for another reason would fill Redis.
-- KEYS: counter.  ARGV: how many more, the window in seconds.
-- Reply: {attempts, milliseconds until the window ends}.
-- Race closed: attempts counted for ever, because INCR came through and EXPIRE did not.
local count
if ARGV[1] == '0' then
  count = tonumber(redis.call('GET', KEYS[1]) or 0)
else
  count = redis.call('INCRBY', KEYS[1], ARGV[1])
  if redis.call('PTTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
end
return {count, redis.call('PTTL', KEYS[1])}

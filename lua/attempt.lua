#!lua flags=allow-oom
-- An attempt is counted against a limit; the window begins with the first.
-- KEYS: counter.  ARGV: how many more, the window in seconds.
-- Reply: {attempts, milliseconds until the window ends}.
-- Race closed: attempts counted for ever, because INCR came through and EXPIRE did not.
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return {count, redis.call('PTTL', KEYS[1])}

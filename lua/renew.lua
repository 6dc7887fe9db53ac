#!lua
-- A login that is in use lives on.
-- KEYS: login.  ARGV: value, seconds.  Reply: 1, or 0 where it was ended meanwhile.
-- Race closed: a login that was ended comes back.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1

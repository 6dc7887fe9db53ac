#!lua
-- A session is written, where none stands and no deletion is unfinished.
-- KEYS: the session's keys.  ARGV: media, then field, value, …
-- Reply: 1, or 0 where the id is taken (the service draws another).
-- Race closed: two sessions that draw one id.
-- include parts/session
if redis.call('EXISTS', session, codes) > 0 then return 0 end
redis.call('SET', media, ARGV[1])
redis.call('HSET', session, unpack(ARGV, 2))
return 1

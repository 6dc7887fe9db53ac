#!lua
-- What somebody played is kept in their list, the newest hundred.
-- KEYS: account, played.  ARGV: code, the time in seconds.  Reply: 1.
-- Race closed: a play that brings a deleted account's list back.
-- include parts/account
if not stands(KEYS[1]) then return 0 end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -101)
return 1

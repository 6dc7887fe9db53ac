#!lua flags=allow-oom
-- A login in use is listed, also one that version 1 began, so that it can be ended.
-- KEYS: account, logins.  ARGV: login id, the time in seconds, a login's life in seconds.
-- Reply: 1, or 0 where the account is gone or the login struck off.
-- Race closed: a login that brings a deleted account's list back.
-- include parts/account
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not stands(KEYS[1]) or (score and tonumber(score) == 0) then return 0 end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1

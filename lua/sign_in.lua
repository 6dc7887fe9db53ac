#!lua flags=allow-oom
-- A login is announced, before it is written: what ends all logins finds it.
-- KEYS: account, logins.
-- ARGV: login id, the time in seconds, the password's hash that was checked ('' for
--   none), a login's life in seconds, how many logins an account may have.
-- Reply: the ids of logins that have to go: struck off (scored 0), too old, too many.
-- Refuses: USER_NOT_FOUND; WRONG_PASSWORD where it was changed meanwhile.
-- Race closed: a sign-in by the old password that outlives its change.
-- include parts/account
local account, logins = unpack(KEYS)
local login, now, hash, life, most = unpack(ARGV)
if not stands(account) then return redis.error_reply('USER_NOT_FOUND') end
if hash ~= '' and redis.call('HGET', account, 'password') ~= hash then
  return redis.error_reply('WRONG_PASSWORD')
end
local old = redis.call('ZRANGE', logins, 0, -most)
for _, each in ipairs(old) do redis.call('ZADD', logins, 0, each) end
old = redis.call('ZRANGEBYSCORE', logins, '-inf', now - life)
redis.call('ZADD', logins, now, login)
redis.call('EXPIRE', logins, life)
redis.call('HSET', account, 'lastLogin', now)
return old

#!lua flags=allow-oom
-- The email that an account has claimed becomes its own.
-- KEYS: account.  ARGV: the email.
-- Reply: the email that it had; nothing where another change or a deletion came between.
-- Race closed: two changes of one account's email at once.
if redis.call('HGET', KEYS[1], 'pendingEmail') ~= ARGV[1] then return false end
local old = redis.call('HGET', KEYS[1], 'email')
redis.call('HSET', KEYS[1], 'email', ARGV[1])
redis.call('HDEL', KEYS[1], 'pendingEmail')
return old

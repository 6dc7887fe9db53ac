#!lua
-- The email that an account has claimed becomes its own.
-- KEYS: account.  ARGV: the email.
-- Reply: 1, or 0 where another change came between.
-- Race closed: two changes of one account's email at once.
if redis.call('HGET', KEYS[1], 'pendingEmail') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'email', ARGV[1])
redis.call('HDEL', KEYS[1], 'pendingEmail')
return 1

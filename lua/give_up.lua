#!lua flags=allow-oom
-- An account gives up the email that it wanted, and could not have.
-- KEYS: account.  ARGV: the email.
-- Reply: 1, or 0 where it wants another one by now.
-- Race closed: a change that is refused takes another one along, which was answered.
if redis.call('HGET', KEYS[1], 'pendingEmail') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'pendingEmail')

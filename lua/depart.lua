#!lua flags=allow-oom
-- An account is gone for everyone; what belongs to it goes next.
-- KEYS: account.  ARGV: the password's hash that was checked ('' for none).
-- Reply: its fields.  Refuses: USER_NOT_FOUND; WRONG_PASSWORD.
-- Race closed: a deletion by a password that was changed meanwhile.
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.error_reply('USER_NOT_FOUND') end
if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'password') ~= ARGV[1] then
  return redis.error_reply('WRONG_PASSWORD')
end
redis.call('HSET', KEYS[1], 'deleting', 1)
return redis.call('HGETALL', KEYS[1])

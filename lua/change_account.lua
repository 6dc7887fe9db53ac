#!lua flags=allow-oom
-- An account's fields change, by who knows its password. Also where Redis is full: who
-- must end a stranger's logins cannot wait, and what an account holds is bounded.
-- KEYS: account, logins.
-- ARGV: the password's hash that was checked ('' for none), '1' where all logins but one
--   end, that login's id, then field, value, …
-- Reply: the ids of logins that end; they are struck off (scored 0), and go from the list
--   when they are gone, so that a crash between is made good by the next sign-in.
-- Refuses: USER_NOT_FOUND; WRONG_PASSWORD where it was changed meanwhile.
-- Race closed: two who change one password, and both believe that theirs is it.
-- include parts/account
local account, logins = unpack(KEYS)
local hash, ending, kept = unpack(ARGV, 1, 3)
if not stands(account) then return redis.error_reply('USER_NOT_FOUND') end
if hash ~= '' and redis.call('HGET', account, 'password') ~= hash then
  return redis.error_reply('WRONG_PASSWORD')
end
if #ARGV > 3 then redis.call('HSET', account, unpack(ARGV, 4)) end
local ended = {}
if ending == '1' then
  for _, login in ipairs(redis.call('ZRANGE', logins, 0, -1)) do
    if login ~= kept then
      ended[#ended + 1] = login
      redis.call('ZADD', logins, 0, login)
    end
  end
end
return ended

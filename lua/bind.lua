#!lua
-- A link by email comes to belong to the first account with this email, for good.
-- KEYS: the session's keys.  ARGV: code, account.
-- Reply: 1 where it is bound, now or before; 0 where it is not listed (yet).
-- Race closed: two accounts that follow each other with one email.
-- include parts/session
if redis.call('HEXISTS', codes, ARGV[1]) == 0 then return 0 end
redis.call('HSETNX', links, ARGV[1] .. ':for', ARGV[2])
return 1

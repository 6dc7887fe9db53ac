#!lua
-- A sign-up is credited to who brought it.
-- KEYS: account, referrals, signups.  ARGV: source, the row of its history.
-- Reply: 1, or 0 where the account is gone.
-- Race closed: a sign-up in the totals that the history does not know, or the reverse.
-- include parts/account
if not stands(KEYS[1]) then return 0 end
redis.call('HINCRBY', KEYS[2], 'signups:' .. ARGV[1], 1)
redis.call('RPUSH', KEYS[3], ARGV[2])
return 1

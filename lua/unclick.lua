#!lua
-- A click is taken back: the link that was followed is not there.
-- KEYS: referrals.  ARGV: source, the day of the click.
-- Reply: 1 where it was taken back.
-- Race closed: clicks below none, and a deleted account's counters that come back.
local counted = 'clickers:' .. ARGV[2]
if tonumber(redis.call('HGET', KEYS[1], counted) or 0) < 1 then return 0 end
redis.call('HINCRBY', KEYS[1], counted, -1)
redis.call('HINCRBY', KEYS[1], 'clicks:' .. ARGV[1], -1)
return 1

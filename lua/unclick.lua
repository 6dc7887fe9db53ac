#!lua flags=allow-oom
-- A click is taken back: the link that was followed is not there. Its visitor is noted, so
-- that a later click of theirs counts although the HyperLogLog knows them by now. A hundred
-- are noted at most, since anybody may make up visitors.
-- KEYS: referrals.  ARGV: source, the day of the click, visitor (in hexadecimal).
-- Reply: 1 where it was taken back.
-- Race closed: clicks below none, and a deleted account's counters that come back.
local counted = 'clickers:' .. ARGV[2]
if tonumber(redis.call('HGET', KEYS[1], counted) or 0) < 1 then return 0 end
redis.call('HINCRBY', KEYS[1], 'clicks:' .. ARGV[1], -1)
if redis.call('HLEN', KEYS[1]) < 100 then
  redis.call('HSET', KEYS[1], counted .. ':' .. ARGV[3], 1)
end
return 1

#!lua flags=no-writes
-- A user's referrals: the counters, and a page of the history.
-- KEYS: referrals, signups.  ARGV: rows less one, the last row's place (-1: the newest).
-- Reply: {counters, rows oldest first, the first row's place}.
-- Race closed: counters and history of different moments.
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local length = redis.call('LLEN', KEYS[2])
if last < 0 or last >= length then last = length - 1 end
first = last - first
local rows = {}
if last >= 0 then rows = redis.call('LRANGE', KEYS[2], math.max(first, 0), last) end
return {redis.call('HGETALL', KEYS[1]), rows, first}

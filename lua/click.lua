#!lua
-- Somebody follows a referral code: one click per visitor and day.
-- KEYS: account, referrals, that day's clickers.
-- ARGV: source, day, visitor (in hexadecimal).
-- Reply: how many clicks were counted.
-- Race closed: a click that brings a deleted account's counters back.
-- include parts/account
-- include parts/newcomers
local account, referrals, clickers = unpack(KEYS)
local source, day, visitor = unpack(ARGV)
if not stands(account) then return 0 end
local counted = 'clickers:' .. day
local before = redis.call('HGET', referrals, counted)
local more, known = newcomers(clickers, visitor, before)
local taken_back = counted .. ':' .. visitor  -- by UNCLICK
if more == 0 then more = redis.call('HDEL', referrals, taken_back) end
if more == 0 then return 0 end
redis.call('HINCRBY', referrals, 'clicks:' .. source, more)
redis.call('HSET', referrals, counted, known)
if not before then
  for _, field in ipairs(redis.call('HKEYS', referrals)) do
    if string.sub(field, 1, 9) == 'clickers:' and field ~= counted then
      redis.call('HDEL', referrals, field)
    end
  end
end
return more

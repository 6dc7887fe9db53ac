#!lua
-- Room for a session in its owner's account, before it is written. What an edit replaces
-- is given back after it, so that edits that overtake each other add up.
-- KEYS: account, sessions, sizes.
-- ARGV: session id, its bytes, '1' for a new one, how many sessions, how many bytes one
--   account may have.
-- Reply: the bytes that it had before; -1 where nothing was taken: a new id is in use, an
--   old one is not listed (any more).
-- Refuses: USER_NOT_FOUND; TOO_MANY_SESSIONS; TOO_MANY_BYTES.
-- Race closed: many who write at once and together take more than there is.
-- include parts/account
local account, sessions, sizes = unpack(KEYS)
local id, size, new, most, room = unpack(ARGV)
if not stands(account) then return redis.error_reply('USER_NOT_FOUND') end
local listed = redis.call('ZSCORE', sessions, id)
if (new == '1') == (listed and true or false) then return -1 end
if new == '1' and redis.call('ZCARD', sessions) >= tonumber(most) then
  return redis.error_reply('TOO_MANY_SESSIONS')
end
local before = tonumber(redis.call('HGET', sizes, id) or 0)
local total = tonumber(redis.call('HGET', sizes, 'total') or 0)
if tonumber(size) > before and total + size - before > tonumber(room) then
  return redis.error_reply('TOO_MANY_BYTES')
end
redis.call('HINCRBY', sizes, id, size)
redis.call('HINCRBY', sizes, 'total', size)
if new == '1' then redis.call('ZADD', sessions, id, id) end
return before

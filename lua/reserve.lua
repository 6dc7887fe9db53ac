#!lua
-- Room for a session in its owner's account, before it is written.
-- KEYS: account, sessions, sizes.
-- ARGV: session id, its bytes, '1' for a new one, how many sessions, how many bytes one
--   account may have.
-- Reply: the bytes that it had before.
-- Refuses: USER_NOT_FOUND; TOO_MANY_SESSIONS; TOO_MANY_BYTES.
-- Race closed: many who write at once and together take more than there is.
-- include parts/account
local account, sessions, sizes = unpack(KEYS)
local id, size, new, most, room = unpack(ARGV)
if not stands(account) then return redis.error_reply('USER_NOT_FOUND') end
if new == '1' and redis.call('ZCARD', sessions) >= tonumber(most) then
  return redis.error_reply('TOO_MANY_SESSIONS')
end
local before = tonumber(redis.call('HGET', sizes, id) or 0)
local total = tonumber(redis.call('HGET', sizes, 'total') or 0)
if tonumber(size) > before and total + size - before > tonumber(room) then
  return redis.error_reply('TOO_MANY_BYTES')
end
redis.call('HSET', sizes, id, size, 'total', total + size - before)
if new == '1' then redis.call('ZADD', sessions, id, id) end
return before

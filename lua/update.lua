#!lua
-- An owner changes a session.
-- KEYS: the session's keys.
-- ARGV: the owner's id, the updatedAt that was seen ('' for any), '1' where media are
--   given, the media, their first picture, the time, then field, value, …
-- Reply: {the bytes of the media before it, the fields after it}; {-1, updatedAt} where
--   nothing is written, for the last edit is not older than that time.
-- Refuses: SESSION_NOT_FOUND; NOT_OWNER; EDIT_CONFLICT where it was changed since;
--   BAD_INTERVALS.
-- Race closed: two edits whose intervals are right apart and wrong together; two tabs
-- that overwrite each other.
-- include parts/session
-- include parts/owned
local seen, has_media, new_media, first_picture, now = unpack(ARGV, 2, 6)
local low, high, updated, thumbnail, automatic = unpack(redis.call('HMGET', session,
  'intervalMin', 'intervalMax', 'updatedAt', 'thumbnail', 'autoCover'))
if seen ~= '' and updated > seen then return redis.error_reply('EDIT_CONFLICT') end
local given = {}
for i = 7, #ARGV, 2 do given[ARGV[i]] = ARGV[i + 1] end
low, high = given.intervalMin or low, given.intervalMax or high
if tonumber(low) > tonumber(high) then return redis.error_reply('BAD_INTERVALS') end
if updated >= now then return {-1, updated} end
local bytes = redis.call('STRLEN', media)
redis.call('HSET', session, 'updatedAt', now, unpack(ARGV, 7))
-- A cover that is given back as it was read, or is the first picture anyway, is no choice.
local unchosen = has_media == '1' and first_picture or thumbnail or ''
if given.thumbnail and given.thumbnail ~= unchosen then
  redis.call('HDEL', session, 'autoCover')
  automatic = false
end
if has_media == '1' then
  redis.call('SET', media, new_media)
  if automatic == '1' then redis.call('HSET', session, 'thumbnail', first_picture) end
end
return {bytes, redis.call('HGETALL', session)}

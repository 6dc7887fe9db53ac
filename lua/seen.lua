#!lua
-- A page tells that it was really shown: one view per visitor and day. Of a page that
-- was fetched ahead, this is the open as well, each time.
-- KEYS: the session's keys on that day.
-- ARGV: code, day, oldest day kept, viewer's id, visitor ('' to count nothing), '1' where
--   the page was fetched ahead.
-- Reply: 1 where it was a visit that counts, not its owner's or a machine's.
-- Refuses: SHARED_SESSION_NOT_FOUND.
-- Race closed: a message that is late brings a deleted session's counters back.
-- include parts/session
-- include parts/shared
-- include parts/count
-- include parts/newcomers
-- include parts/opened
local visitor, fetched_ahead = unpack(ARGV, 5)
if not (audience and public == '1') then return not_shared end
if visitor == '' or viewer == owner then return 0 end
local more = newcomers(viewers, visitor, redis.call('HGET', daily, day .. ':views'))
if more > 0 then count('views', more) end
if fetched_ahead == '1' then count_open(visitor, '') end
return 1

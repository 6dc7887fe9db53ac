#!lua
-- A shared session is given in full, and its play counted, once per person in half an
-- hour. Who played is noted, so that the end of a link finds the lists that it is in.
-- KEYS: the session's keys on that day.
-- ARGV: code, day, oldest day kept, viewer's id, the time in seconds.
-- Reply: {1 where it was not the owner's, owner, what it shows, updatedAt, media}.
-- Refuses: SHARED_SESSION_NOT_FOUND; NOT_FOR_YOU.
-- Race closed: somebody plays whom the link was not meant for; two reloads at once count
-- twice.
-- include parts/session
-- include parts/shared
-- include parts/count
local now = tonumber(ARGV[5])
if not (audience and public == '1') then return not_shared end
if not meant_for_viewer() then return redis.error_reply('NOT_FOR_YOU') end
local recipient = viewer ~= owner
local last = recipient and redis.call('ZSCORE', players, viewer)
if recipient and (not last or math.abs(now - tonumber(last)) >= 1800) then
  redis.call('ZADD', players, now, viewer)
  count('plays', 1)
end
return {recipient and 1 or 0, owner, shown(), redis.call('HGET', session, 'updatedAt'),
  redis.call('GET', media)}

#!lua
-- A preview is looked at, and its open counted.
-- KEYS: the session's keys on that day.
-- ARGV: code, day, oldest day kept, viewer's id, why it is left out ('' to count it),
--   visitor, referring host, '1' where its owner may see it while it is paused.
-- Reply: {why it was left out, 1 while it is public, audience, owner, what it shows}.
-- Refuses: SHARED_SESSION_NOT_FOUND.
-- Race closed: an open is counted for a session that was deleted after it was looked up.
-- include parts/session
-- include parts/shared
-- include parts/count
-- include parts/newcomers
-- include parts/opened
local reason, visitor, host, owner_sees = unpack(ARGV, 5)
local visible = public == '1' or (owner_sees == '1' and viewer == owner)
if not (audience and visible) then return not_shared end
if viewer == owner then reason = 'owner' end
if reason == '' then
  count_open(visitor, host)
else
  redis.call('HINCRBY', stats, 'excluded:' .. reason, 1)
end
return {reason, public, audience, owner, shown()}

#!lua flags=no-writes
-- A preview is looked at, and nothing is counted: it is no visit, or Redis takes no
-- writes.
-- KEYS, ARGV, reply and refusals as of open.lua.
-- Race closed: none; it reads in one step.
-- include parts/session
-- include parts/shared
local visible = public == '1' or (ARGV[8] == '1' and viewer == owner)
if not (audience and visible) then return not_shared end
return {viewer == owner and 'owner' or 'uncounted', public, audience, owner, shown()}

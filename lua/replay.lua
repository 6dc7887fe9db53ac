#!lua flags=no-writes
-- A shared session is given in full, and nothing is counted: it is no new play, or
-- Redis takes no writes.
-- KEYS, ARGV, reply and refusals as of play.lua.
-- Race closed: none; it reads in one step.
-- include parts/session
-- include parts/shared
if not (audience and public == '1') then return not_shared end
if not meant_for_viewer() then return redis.error_reply('NOT_FOR_YOU') end
return {0, owner, shown(), redis.call('HGET', session, 'updatedAt'),
  redis.call('GET', media)}

#!lua flags=no-writes
-- A session as it stands in its owner's list.
-- KEYS: the session's keys.  ARGV: none.
-- Reply: {fields, how many links, {opens, signups}, the general link's code or false}; of
--   one that is gone no fields, and how many lists its deletion has left.
-- Race closed: none; it reads in one step.
-- include parts/session
local links = redis.call('HLEN', codes)
if redis.call('EXISTS', session) == 0 then
  links = redis.call('EXISTS', codes, players)
end
local general = redis.call('HGET', shares, '*')
if general and redis.call('HEXISTS', codes, general) == 0 then general = false end
return {redis.call('HGETALL', session), links,
  redis.call('HMGET', stats, 'opens', 'signups'), general}

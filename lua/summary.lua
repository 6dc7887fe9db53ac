#!lua flags=no-writes
-- A session as it stands in its owner's list.
-- KEYS: the session's keys.  ARGV: none.
-- Reply: {fields, how many links, {opens, signups}, the general link's code or false}.
-- Race closed: none; it reads in one step.
-- include parts/session
local general = redis.call('HGET', shares, '*')
if general and redis.call('HEXISTS', codes, general) == 0 then general = false end
return {redis.call('HGETALL', session), redis.call('HLEN', codes),
  redis.call('HMGET', stats, 'opens', 'signups'), general}

#!lua
-- A code is chosen for an audience.
-- KEYS: the session's keys.
-- ARGV: the owner's id, audience, a new code, the time, the email of a link by email,
--   how many links a session may have.
-- Reply: {code, 1 where the session lists it already}.
-- Refuses: SESSION_NOT_FOUND; NOT_OWNER; TOO_MANY_LINKS.
-- Race closed: two who share at once; HSETNX lets the first code win (invariant 4).
-- include parts/session
-- include parts/owned
local audience, new_code, now, email, limit = unpack(ARGV, 2)
if redis.call('HEXISTS', shares, audience) == 0
  and redis.call('HLEN', shares) >= tonumber(limit) then
  return redis.error_reply('TOO_MANY_LINKS')
end
redis.call('HSETNX', shares, audience, new_code)
-- Always written: WAIT waits for what its connection has written last, and a code that is
-- told again must be on the replicas as well.
redis.call('HSET', session, 'isPublic', 1)
local code = redis.call('HGET', shares, audience)
local listed = redis.call('HEXISTS', codes, code)
if listed == 0 then
  redis.call('HSETNX', links, code .. ':since', now)
  if email ~= '' then redis.call('HSETNX', links, code .. ':email', email) end
end
return {code, listed}

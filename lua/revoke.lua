#!lua flags=allow-oom
-- An owner takes one link back; what it counted stays in the session's numbers.
-- KEYS: the session's keys.  ARGV: the owner's id, code, days with visitors…
-- Reply: {the audience that it had, players of the session}.
-- Refuses: SESSION_NOT_FOUND; NOT_OWNER; SHARE_NOT_FOUND.
-- Race closed: a share that still hands out what is revoked; it finds no code to seal. It
-- stays noted as revoked until nothing leads to it, so that REMOVE finds what a crash left.
-- include parts/session
-- include parts/owned
local code = ARGV[2]
local audience = redis.call('HGET', codes, code)
if not audience then return redis.error_reply('SHARE_NOT_FOUND') end
redis.call('HDEL', codes, code)
redis.call('HSET', links, code .. ':revoked', audience)
if redis.call('HGET', shares, audience) == code then
  redis.call('HDEL', shares, audience)
end
for _, part in ipairs({'since', 'email', 'for', 'today', 'opens', 'views', 'visitors',
  'plays', 'signups'}) do
  redis.call('HDEL', links, code .. ':' .. part)
end
for i = 3, #ARGV do
  redis.call('DEL', string.gsub(visitors, '[^:]*$', '') .. ARGV[i] .. ':' .. code)
end
return {audience, redis.call('ZRANGE', players, 0, -1)}

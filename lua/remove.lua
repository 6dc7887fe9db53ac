#!lua flags=allow-oom
-- A session is gone for everyone. Its codes and players stay listed, out of sight, until
-- what points at it is purged.
-- KEYS: the session's keys.  ARGV: the owner's id, days with visitors…
-- Reply: {{code, audience, …}, players}.
-- Refuses: SESSION_NOT_FOUND; NOT_OWNER.
-- Race closed: a session half deleted; a code that was chosen and not yet listed.
-- include parts/session
-- include parts/owned
local chosen = redis.call('HGETALL', shares)
local opened = {}
for _, field in ipairs(redis.call('HKEYS', links)) do
  local code, kept = string.match(field, '^([^:]*):(.*)$')
  if kept == 'today' then opened[#opened + 1] = ':' .. code end
  if kept == 'revoked' then  -- what a revocation that was cut short has left
    redis.call('HSET', codes, code, redis.call('HGET', links, field))
  end
end
redis.call('DEL', session, media, shares, links, stats, daily, referrers)
for i = 1, #chosen, 2 do redis.call('HSETNX', codes, chosen[i + 1], chosen[i]) end
local stem = string.gsub(visitors, '[^:]*$', '')
local seen = string.gsub(viewers, '[^:]*$', '')
for i = 2, #ARGV do
  redis.call('DEL', stem .. ARGV[i], seen .. ARGV[i])
  for _, code in ipairs(opened) do redis.call('DEL', stem .. ARGV[i] .. code) end
end
return {redis.call('HGETALL', codes), redis.call('ZRANGE', players, 0, -1)}

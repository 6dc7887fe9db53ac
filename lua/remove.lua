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
local counted = redis.call('HKEYS', links)
for _, field in ipairs(counted) do  -- what a revocation that was cut short has left
  local code = string.match(field, '^(.*):revoked$')
  if code then redis.call('HSET', codes, code, redis.call('HGET', links, field)) end
end
redis.call('DEL', session, media, shares, links, stats, daily, referrers)
for i = 1, #chosen, 2 do redis.call('HSETNX', codes, chosen[i + 1], chosen[i]) end
local stem = string.gsub(visitors, '[^:]*$', '')
local seen = string.gsub(viewers, '[^:]*$', '')
for i = 2, #ARGV do
  redis.call('DEL', stem .. ARGV[i], seen .. ARGV[i])
  for _, field in ipairs(counted) do
    local code = string.match(field, '^(.*):today$')
    if code then redis.call('DEL', stem .. ARGV[i] .. ':' .. code) end
  end
end
return {redis.call('HGETALL', codes), redis.call('ZRANGE', players, 0, -1)}

-- A code is valid while its session stands and lists it (invariant 1), and answers while
-- the session is public.
local code, day, oldest, viewer = unpack(ARGV)
local owner, public = unpack(redis.call('HMGET', session, 'userId', 'isPublic'))
local audience = owner and redis.call('HGET', codes, code)
local not_shared = redis.error_reply('SHARED_SESSION_NOT_FOUND')
local function shown()
  return redis.call('HMGET', session, 'title', 'description', 'thumbnail', 'mediaCount',
    'intervalMin', 'intervalMax', 'transition', 'createdAt')
end
-- A link for one person is for that account and the owner only.
local function meant_for_viewer()
  if viewer == owner or audience == '*' or string.sub(audience, 1, 6) == 'label:' then
    return true
  end
  if string.sub(audience, 1, 5) ~= 'mail:' then return viewer == audience end
  return viewer == redis.call('HGET', links, code .. ':for')
end

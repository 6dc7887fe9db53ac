#!lua flags=no-writes
-- An owner reads a session.
-- KEYS: the session's keys.  ARGV: the owner's id.
-- Reply: {fields, media, codes, what is kept of each link}.
-- Refuses: SESSION_NOT_FOUND; NOT_OWNER.
-- Race closed: a session half of before an edit and half of after it.
-- include parts/session
-- include parts/owned
return {redis.call('HGETALL', session), redis.call('GET', media),
  redis.call('HGETALL', codes), redis.call('HGETALL', links)}

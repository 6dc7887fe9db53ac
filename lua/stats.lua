#!lua flags=no-writes
-- An owner reads a session's numbers.
-- KEYS: the session's keys.  ARGV: the owner's id.
-- Reply: {totals, daily, referrers, codes, what is kept of each link, createdAt}.
-- Refuses: SESSION_NOT_FOUND; NOT_OWNER.
-- Race closed: numbers of one link that are more than those of all.
-- include parts/session
-- include parts/owned
return {redis.call('HGETALL', stats), redis.call('HGETALL', daily),
  redis.call('HGETALL', referrers), redis.call('HGETALL', codes),
  redis.call('HGETALL', links), redis.call('HGET', session, 'createdAt')}

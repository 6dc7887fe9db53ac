#!lua flags=allow-oom
-- A pointer goes, if it still points there.
-- KEYS: pointer.  ARGV: where it is believed to point.  Reply: 1 where it went.
-- Race closed: a pointer is taken away after somebody else made it anew.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0

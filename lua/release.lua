#!lua flags=allow-oom
-- Bytes of a session that are not there any more, or were never written, are given back.
-- KEYS: sizes.  ARGV: session id, bytes.  Reply: 1, or 0 where the session is gone.
-- Race closed: room that is given back twice, by an edit and by a deletion.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local less = 0 - ARGV[2]  -- Redis takes no -0
redis.call('HINCRBY', KEYS[1], ARGV[1], less)
redis.call('HINCRBY', KEYS[1], 'total', less)
return 1

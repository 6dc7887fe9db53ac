#!lua
-- A pointer at something that is no more is taken over.
-- KEYS: pointer.  ARGV: where it pointed, where it shall point.  Reply: 1 where it does.
-- Race closed: two who take it over at once.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1

#!lua
-- A chosen code is listed: from now on it is valid. This is what commits a share.
-- KEYS: the session's keys.  ARGV: audience, code.
-- Reply: 1, or 0 where the code is not (or no longer) the chosen one.
-- Race closed: a share that is published while its session or its link is taken away.
-- include parts/session
if redis.call('HGET', shares, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSETNX', codes, ARGV[2], ARGV[1])
return 1

#!lua flags=no-writes
-- Which version wrote the data. It is a script so that a Redis before 7.0, which can run
-- none of ours, is noticed at the start.
-- KEYS: schema.  ARGV: none.  Reply: the version of the data, or false.
-- Race closed: none; it reads in one step.
return redis.call('GET', KEYS[1])

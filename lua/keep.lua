#!lua flags=allow-oom
-- A login is written, also where Redis is full: nobody else could delete anything.
-- KEYS: login.  ARGV: value, seconds.  Reply: OK.
-- Race closed: none; it is one command.
return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])

#!lua
-- A link by email comes to belong to the first account with this email, for good. Where
-- there is none, as much is read and written, so that the time it takes tells nothing.
-- KEYS: the session's keys.  ARGV: code, account ('' for none yet).
-- Reply: 1 where it is bound, now or before; 0 where it is not, or not listed (yet).
-- Race closed: two accounts that follow each other with one email; a link that is bound
-- after its session went, and would bring its numbers back.
-- include parts/session
local field = ARGV[1] .. ':for'
if redis.call('EXISTS', session) == 0 or redis.call('HEXISTS', codes, ARGV[1]) == 0 then
  return 0
end
local first = redis.call('HGET', links, field)
if not first or first == '' then first = ARGV[2] end
redis.call('HSET', links, field, first)
return first == '' and 0 or 1

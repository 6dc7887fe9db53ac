#!lua
-- A token is announced, before its secret is written.
-- KEYS: account, tokens.  ARGV: token id, what is told of it, how many there may be.
-- Reply: 1.  Refuses: USER_NOT_FOUND; TOO_MANY_TOKENS.
-- Race closed: many who make tokens at once; a token that outlives its account.
-- include parts/account
if not stands(KEYS[1]) then return redis.error_reply('USER_NOT_FOUND') end
if redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[3]) then
  return redis.error_reply('TOO_MANY_TOKENS')
end
return redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])

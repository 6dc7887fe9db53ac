-- What every owner's script answers first: is it there, and is it yours?
local owner = redis.call('HGET', session, 'userId')
if not owner then return redis.error_reply('SESSION_NOT_FOUND') end
if owner ~= ARGV[1] then return redis.error_reply('NOT_OWNER') end

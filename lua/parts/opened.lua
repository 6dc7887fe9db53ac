-- The visitors of one link: their number is kept with the day that it is of, so that
-- the next day begins at none.
local function count_link_visitor(visitor)
  local field, counted = code .. ':today', nil
  local kept = redis.call('HGET', links, field)
  if kept and string.sub(kept, 1, 10) == day then counted = string.sub(kept, 12) end
  local more, known = newcomers(visitors .. ':' .. code, visitor, counted)
  if more == 0 then return end
  redis.call('HSET', links, field, day .. ':' .. known)
  redis.call('HINCRBY', links, code .. ':visitors', more)
end
-- At most a hundred hosts; at the first open of a day the fifty largest stay, so that
-- made-up ones do not fill the table for good.
local function count_referrer(host, first_of_day)
  local size = redis.call('HLEN', referrers)
  if first_of_day and size >= 100 then
    local hosts, all = {}, redis.call('HGETALL', referrers)
    for i = 1, #all, 2 do
      if all[i] ~= 'other' then hosts[#hosts + 1] = {all[i], tonumber(all[i + 1])} end
    end
    table.sort(hosts, function(a, b) return a[2] > b[2] end)
    for i = 51, #hosts do
      redis.call('HDEL', referrers, hosts[i][1])
      redis.call('HINCRBY', referrers, 'other', hosts[i][2])
    end
    size = redis.call('HLEN', referrers)
  end
  if host == '' then return end
  if size >= 100 and redis.call('HEXISTS', referrers, host) == 0 then host = 'other' end
  redis.call('HINCRBY', referrers, host, 1)
end
local function count_open(visitor, host)
  local first_of_day = redis.call('HEXISTS', daily, day .. ':opens') == 0
  count('opens', 1)
  local known = redis.call('HGET', daily, day .. ':visitors')
  local more = newcomers(visitors, visitor, known)
  if more > 0 then
    redis.call('HINCRBY', stats, 'visitors', more)
    redis.call('HINCRBY', daily, day .. ':visitors', more)
  end
  count_link_visitor(visitor)
  count_referrer(host, first_of_day)
end

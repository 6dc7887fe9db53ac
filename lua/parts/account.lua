-- An account stands until it is marked: from then on it is gone for everyone.
local function stands(account)
  return redis.call('EXISTS', account) == 1
    and redis.call('HEXISTS', account, 'deleting') == 0
end

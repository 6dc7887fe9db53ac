-- Sends one of the requests listed in a file, chosen at random each time; prints one line
-- of JSON for bench.py. Arguments: the file (a method, a path, a user agent and a cookie
-- or nothing on each line, parted by tabs) and the random seed.

local threads = {}
local requests = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  bad, worst = 0, 0
  math.randomseed(tonumber(args[2]))
  for line in io.lines(args[1]) do
    local method, path, agent, cookie = line:match("^(.-)\t(.-)\t(.-)\t(.-)$")
    local headers = { ["User-Agent"] = agent }
    if cookie ~= "" then headers["Cookie"] = cookie end
    table.insert(requests, wrk.format(method, path, headers))
  end
end

function request()
  return requests[math.random(#requests)]
end

function response(status)
  if status < 200 or status > 299 then
    bad, worst = bad + 1, status
  end
end

function done(summary, latency)
  local not_2xx, status = 0, 0
  for _, thread in ipairs(threads) do
    not_2xx = not_2xx + thread:get("bad")
    status = math.max(status, thread:get("worst"))
  end
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, '
      .. '"not_2xx": %d, "status": %d, "socket_errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    not_2xx, status, e.connect + e.read + e.write + e.timeout))
end

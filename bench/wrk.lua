-- Sends one of the requests listed in a file, chosen at random each time; prints one line
-- of JSON for stage.py. Arguments: the file (on each line a method, a path, a user agent,
-- a cookie and a body, parted by tabs; the last two may be empty) and the random seed.
-- `$n` in a body becomes a number that no other request of the run has.

local threads, requests = {}, {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  bad, sent, seed = 0, 0, args[2]
  math.randomseed(tonumber(seed))
  for line in io.lines(args[1]) do
    local method, path, agent, cookie, body =
      line:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.*)$")
    local headers = { ["User-Agent"] = agent }
    if cookie ~= "" then headers["Cookie"] = cookie end
    if body == "" then
      table.insert(requests, wrk.format(method, path, headers))
    else
      headers["Content-Type"] = "application/json"
      table.insert(requests, { method, path, headers, body })
    end
  end
end

function request()
  local chosen = requests[math.random(#requests)]
  if type(chosen) == "string" then return chosen end
  sent = sent + 1
  local method, path, headers, body = unpack(chosen)
  return wrk.format(method, path, headers, (body:gsub("$n", seed .. "-" .. sent)))
end

function response(status)
  if status < 200 or status > 299 then bad = bad + 1 end
end

function done(summary, latency)
  local not_2xx, e = 0, summary.errors
  for _, thread in ipairs(threads) do not_2xx = not_2xx + thread:get("bad") end
  io.write(string.format(
    '\nRESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, '
      .. '"not_2xx": %d, "socket_errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    not_2xx, e.connect + e.read + e.write + e.timeout))
end

-- The clock every script uses: the Redis server's own, in milliseconds, so that all workers share one time.
local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- This server's run id, new with every start, and its age in seconds; nil where it doesn't say.
local function server_facts()
  local info = redis.pcall('INFO', 'server')
  if type(info) ~= 'string' then return nil, 0 end
  return string.match(info, 'run_id:(%w+)'), tonumber(string.match(info, 'uptime_in_seconds:(%d+)') or '0')
end

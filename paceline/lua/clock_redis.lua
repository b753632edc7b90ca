-- The clock every script uses: the Redis server's own, in milliseconds, so that all workers share one time.
local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

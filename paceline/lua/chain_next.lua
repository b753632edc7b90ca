--! with clock
-- End a claim: make the chain due again, or idle. Whoever woke it meanwhile for an earlier time wins.
-- KEYS 1 chains zset
-- ARGV 1 chain, 2 claim, 3 ms until it is due again, or -1 for idle
-- RETURNS ms until a message should come, or -1 for none
local now = now_ms()
local ms = tonumber(ARGV[3])
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or string.format('%.0f', score) ~= ARGV[2] then
  -- Another turn has it, or a wake-up for an earlier time, whose message is on its way.
  if ms >= 0 and (not score or tonumber(score) > now + ms) then
    redis.call('ZADD', KEYS[1], now + ms, ARGV[1])
    return math.ceil(ms)
  end
  return -1
end
local woken = redis.call('HGET', KEYS[1] .. ':woken', ARGV[1])
if woken then
  redis.call('HDEL', KEYS[1] .. ':woken', ARGV[1])
  local wanted = math.max(tonumber(woken) - now, 0)
  if ms < 0 or wanted < ms then ms = wanted end
end
if ms < 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return -1
end
redis.call('ZADD', KEYS[1], now + ms, ARGV[1])
return math.ceil(ms)

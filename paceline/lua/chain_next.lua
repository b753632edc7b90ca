--! with clock
-- End a claim: make the chain due again, or idle. Whoever woke it meanwhile for an earlier time wins.
-- KEYS 1 chains zset
-- ARGV 1 chain, 2 claim, 3 ms until it is due again, or -1 for idle
-- RETURNS ms until a message should come, or -1 for none
local now = now_ms()
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
local ms = tonumber(ARGV[3])
local mine = score and string.format('%.0f', score) == ARGV[2]
if ms < 0 then
  if mine then redis.call('ZREM', KEYS[1], ARGV[1]) end
  return -1
end
if score and not mine and tonumber(score) <= now + ms then return -1 end
redis.call('ZADD', KEYS[1], now + ms, ARGV[1])
return math.ceil(ms)

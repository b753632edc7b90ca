--! with clock
-- End a claim: make the chain due again, or idle. Whoever woke it meanwhile for an earlier time wins.
--
-- A chain is idle only while it has nothing to do: what whoever ends the claim has seen may be of an older state.
-- KEYS 1 chains zset, 2 account hash (of a closing: batch hash), 3… the zsets of what the chain works on
-- ARGV 1 chain, 2 claim, 3 ms until it is due again, or -1 for idle, 4 step
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
redis.call('HDEL', KEYS[1] .. ':holders', ARGV[1])
local woken = redis.call('HGET', KEYS[1] .. ':woken', ARGV[1])
if woken then
  redis.call('HDEL', KEYS[1] .. ':woken', ARGV[1])
  local wanted = math.max(tonumber(woken) - now, 0)
  if ms < 0 or wanted < ms then ms = wanted end
end
if ms < 0 and ARGV[4] == 'close' then
  local batch = redis.call('HMGET', KEYS[2], 'closing', 'total', 'n:exported')
  if batch[1] == '1' and batch[2] == batch[3] then ms = 1000 end
elseif ms < 0 and not (ARGV[4] == 'feed' and redis.call('HEXISTS', KEYS[2], 'paused') == 1) then
  for i = 3, #KEYS do
    if redis.call('ZCARD', KEYS[i]) > 0 then ms = 1000 end
  end
end
if ms < 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return -1
end
redis.call('ZADD', KEYS[1], now + ms, ARGV[1])
return math.ceil(ms)

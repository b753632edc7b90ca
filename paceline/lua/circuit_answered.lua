--! with clock chains circuit
-- Record that the provider answered. A reading answer half-opens an open circuit; a sent submission's closes it.
-- Where nothing waits to be sent, there is nothing to try, and a reading answer closes it.
-- KEYS 1 account hash, 2 chains zset, 3 feed zset, 4 released zset
-- ARGV 1 account, 2 '1' if it was a submission's
-- RETURNS ms until the feed chain wants a message or -1
local now = now_ms()
if ARGV[2] == '1' or redis.call('ZCARD', KEYS[3]) + redis.call('ZCARD', KEYS[4]) == 0 then
  if not circuit_close(KEYS[1]) then return -1 end
else
  redis.call('HDEL', KEYS[1], 'down_failures')
  if redis.call('HEXISTS', KEYS[1], 'down_until') == 1 then
    redis.call('HSET', KEYS[1], 'down_half', 1, 'down_until', string.format('%.0f', now))
  end
end
return wake_chain(KEYS[2], 'feed:' .. ARGV[1], now, now)

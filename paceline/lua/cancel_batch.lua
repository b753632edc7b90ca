--! with clock chains
-- Begin to cancel a batch: it is fed no more, whatever it was paused for before, and a chain ends what is under way.
-- KEYS 1 batch hash, 2 feed zset of the account, 3 chains zset
-- ARGV 1 batch, 2 message for people
-- RETURNS ms until the cancel chain wants a message, or -1 (complete already, or its message is on its way)
local row = redis.call('HMGET', KEYS[1], 'account', 'closed', 'paused')
if not row[1] or row[2] == '1' then return -1 end
local now = now_ms()
if row[3] ~= 'cancelled' then
  redis.call('HSET', KEYS[1], 'paused', 'cancelled', 'paused_message', ARGV[2], 'paused_ms', string.format('%.0f', now))
end
redis.call('ZREM', KEYS[2], ARGV[1])
return wake_chain(KEYS[3], 'cancel:' .. ARGV[1], now, now)

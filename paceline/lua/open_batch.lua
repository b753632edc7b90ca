--! with clock
-- Register a batch, once.
-- KEYS 1 batch hash, 2 batches zset, 3 accounts set
-- ARGV 1 batch id, 2 account, then field, value … of a new batch's hash
-- RETURNS 1 if it is new, 0 if it was there (and is unchanged)
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local now = string.format('%.0f', now_ms())
redis.call('HSET', KEYS[1], 'created_ms', now, unpack(ARGV, 3))
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('SADD', KEYS[3], ARGV[2])
return 1

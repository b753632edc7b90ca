--! with clock
-- Register a batch, once.
-- KEYS 1 batch hash, 2 batches zset, 3 accounts set, 4 account hash
-- ARGV 1 batch id, 2 account, 3 the account's address, then field, value … of a new batch's hash
-- RETURNS 1 if it is new, 0 if it was there (and is unchanged)
if redis.call('HEXISTS', KEYS[1], 'account') == 1 then return 0 end
redis.call('DEL', KEYS[1])  -- counters that a process left which did not know yet that the ledger was lost
local now = string.format('%.0f', now_ms())
redis.call('HSET', KEYS[1], 'created_ms', now, unpack(ARGV, 4))
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[4], 'address', ARGV[3])
return 1

--! with clock
-- Register a batch, once. One that was complete and is removed stays known: it was paid for.
-- KEYS 1 batch hash, 2 batches zset, 3 accounts set, 4 account hash, 5 removing hash, 6 forgotten hash
-- ARGV 1 batch id, 2 account, 3 the account's address, 4 '1' if it may come back after it was removed,
--      then field, value … of a new batch's hash
-- RETURNS 1 if it is new, 0 if it was there (and is unchanged), -1 if it was removed, -2 if its removal isn't through
if redis.call('HEXISTS', KEYS[1], 'account') == 1 then return 0 end
if redis.call('HEXISTS', KEYS[5], ARGV[1]) == 1 then return -2 end
if ARGV[4] == '1' then
  redis.call('HDEL', KEYS[6], ARGV[1])
elseif redis.call('HEXISTS', KEYS[6], ARGV[1]) == 1 then
  return -1
end
redis.call('DEL', KEYS[1])  -- counters that a process left which did not know yet that the ledger was lost
local now = string.format('%.0f', now_ms())
redis.call('HSET', KEYS[1], 'created_ms', now, unpack(ARGV, 5))
local server = server_facts()
if server then redis.call('HSET', KEYS[1], 'server', string.sub(server, 1, 12)) end
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('SADD', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[4], 'address', ARGV[3])
return 1

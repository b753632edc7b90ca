--! with clock chains
-- Let a paused account, or a paused batch, go on.
-- KEYS 1 hash of the account or batch, 2 chains zset, 3 feed zset of the account, 4 account hash
-- ARGV 1 account, 2 batch to feed again or '', 3 the reason it must be paused for ('' = any)
-- RETURNS {1 if it was paused, ms until the feed chain wants a message or -1}
local why = redis.call('HGET', KEYS[1], 'paused')
if not why or (why == 'cancelled' and ARGV[3] ~= why) or (ARGV[3] ~= '' and why ~= ARGV[3]) then return { 0, -1 } end
redis.call('HDEL', KEYS[1], 'paused', 'paused_message', 'paused_ms', 'paused_by')
if why == 'ledger_restarted' then
  -- A person says that this server's data are complete.
  redis.call('HSET', KEYS[1], 'sure', string.sub(server_facts() or '', 1, 12))
end
if why == 'too_many_failures' and ARGV[3] == '' then  -- a person lets those pass: only what fails from now on counts
  local judged = redis.call('HMGET', KEYS[1], 'judged:failed', 'judged:succeeded')
  redis.call('HSET', KEYS[1], 'passed:failed', judged[1] or '0', 'passed:succeeded', judged[2] or '0')
end
if ARGV[2] ~= '' then
  local priority = tonumber(redis.call('HGET', KEYS[1], 'priority') or '0')
  local present = tonumber(redis.call('HGET', KEYS[4], 'share:' .. string.format('%.0f', priority)) or '0')
  redis.call('ZADD', KEYS[3], 'NX', present - priority * 1e9, ARGV[2])
end
local now = now_ms()
return { 1, wake_chain(KEYS[2], 'feed:' .. ARGV[1], now, now) }

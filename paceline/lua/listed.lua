--! with clock chains
-- Note that a batch's listing is complete.
-- KEYS 1 batch hash, 2 chains zset
-- ARGV 1 batch id, 2 skipped files, 3 length of the manifest
-- RETURNS ms until the close chain wants a message, or -1
if redis.call('HEXISTS', KEYS[1], 'account') == 0 then return -1 end  -- the ledger was lost meanwhile
redis.call('HSET', KEYS[1], 'files_skipped', ARGV[2], 'manifest_bytes', ARGV[3], 'listed', 1)
local row = redis.call('HMGET', KEYS[1], 'total', 'n:exported', 'closed')
if (row[1] or '0') == (row[2] or '0') and row[3] ~= '1' then
  local now = now_ms()
  redis.call('HSET', KEYS[1], 'closing', 1)
  redis.call('HSETNX', KEYS[1], 'finished_ms', string.format('%.0f', now))
  return wake_chain(KEYS[2], 'close:' .. ARGV[1], now, now)
end
return -1

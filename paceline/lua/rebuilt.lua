--! with clock chains
-- End the rebuilding of a batch: it may be planned on, fed and closed again.
-- KEYS 1 batch hash, 2 chains zset, 3 feed zset of the account, 4 account hash, 5 planned zset
-- ARGV 1 batch id, 2 account, 3 '1' if its listing is complete, 4 skipped files, 5 length of the manifest,
--      6 '1' if its final output stands at every destination
-- RETURNS 1, or 0 if the batch wasn't being rebuilt
if redis.call('HDEL', KEYS[1], 'rebuilding') == 0 then return 0 end
if redis.call('HGET', KEYS[1], 'paused') == 'rebuilding' then
  redis.call('HDEL', KEYS[1], 'paused', 'paused_message', 'paused_ms', 'paused_by')
end
local now = now_ms()
local row = redis.call('HMGET', KEYS[1], 'total', 'n:exported', 'last_ms', 'priority')
redis.call('HDEL', KEYS[1], 'last_ms')
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'files_skipped', ARGV[4], 'manifest_bytes', ARGV[5], 'listed', 1)
  if (row[1] or '0') == (row[2] or '0') then
    redis.call('HSET', KEYS[1], 'finished_ms', row[3] or string.format('%.0f', now))
    if ARGV[6] == '1' then
      redis.call('HSET', KEYS[1], 'closed', 1)
    else
      redis.call('HSET', KEYS[1], 'closing', 1)
      wake_chain(KEYS[2], 'close:' .. ARGV[1], now, now)
    end
  end
end
if redis.call('EXISTS', KEYS[5]) == 1 then
  local priority = tonumber(row[4] or '0')
  local present = tonumber(redis.call('HGET', KEYS[4], 'share:' .. string.format('%.0f', priority)) or '0')
  redis.call('ZADD', KEYS[3], 'NX', present - priority * 1e9, ARGV[1])
  wake_chain(KEYS[2], 'feed:' .. ARGV[2], now, now)
end
return 1

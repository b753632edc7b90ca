--! with clock chains ledger
-- Record that every sink holds a submission durably; the last one closes the batch.
-- KEYS the way, 17 digests string
-- ARGV 1 id, 2 generation
-- RETURNS {'ok', generation, ms until the close chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'finished' })
if not from then return { why } end
local now = now_ms()
local generation = move(from, 'exported', 0, 'exported')
redis.call('PEXPIRE', KEYS[17], 3600000)  -- another export may be under way and still read them
local row = redis.call('HMGET', KEYS[2], 'listed', 'total', 'n:exported')
if row[1] == '1' and row[2] == row[3] then
  redis.call('HSET', KEYS[2], 'closing', 1)
  redis.call('HSETNX', KEYS[2], 'finished_ms', int(now))
  return { 'ok', generation, wake('close:' .. string.match(ARGV[1], '^(.*)%-'), now, now) }
end
return { 'ok', generation, -1 }

--! with clock chains circuit ledger
-- Put a submission back to planned because the provider surely did nothing; the attempt isn't counted.
-- KEYS the way, 17 pace log
-- ARGV 1 id, 2 generation, 3 reason, 4 '1' to hand the permit back (nothing was sent), 5 '1' if it was refused by 429,
--      6 token of the request this is about, or '' for whichever is under way
-- RETURNS {'ok', generation, ms until the feed chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'submitting' })
if not from or not about(ARGV[6]) then return { why or 'lost' } end
local now = now_ms()
local permit = redis.call('HGET', KEYS[1], 'permit')
if ARGV[4] == '1' and permit then
  redis.call('ZREM', KEYS[17], permit)
  redis.call('HINCRBY', KEYS[2], 'req:' .. (redis.call('HGET', KEYS[1], 'class') or 'add'), -1)
end
if ARGV[5] == '1' then redis.call('HINCRBY', KEYS[2], 'rejected_429', 1) end
redis.call('HINCRBY', KEYS[1], 'attempt', -1)
redis.call('HDEL', KEYS[1], 'permit')
local generation = to_planned(from, 'put_back', { 'reason', ARGV[3] })
return { 'ok', generation, wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now, now) }

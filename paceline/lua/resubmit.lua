--! with clock chains circuit ledger
-- Put a held submission back among the planned ones, because a person says that it may be sent (again); an uncertain
-- one, because its account is set so.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 reason
-- RETURNS {'ok', generation, ms until the feed chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'held', 'uncertain' })
if not from then return { why } end
local now = now_ms()
redis.call('HDEL', KEYS[1], 'reason', 'looks', 'look_ms', 'doubt_ms', 'permit')
known_here()
local generation = to_planned(from, 'resubmit', { 'reason', ARGV[3] })
return { 'ok', generation, wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now, now) }

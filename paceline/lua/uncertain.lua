--! with clock chains circuit ledger
-- Record that a POST was begun and its outcome isn't known; only reconcile leads out of here.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 reason, 4 ms until the first look, 5 token of the request this is about, or ''
-- RETURNS {'ok', generation, ms until the reconcile chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'submitting' })
if not from or not about(ARGV[5]) then return { why or 'lost' } end
local now = now_ms()
redis.call('HSET', KEYS[1], 'doubt_ms', int(now))
if (ARGV[5] or '') ~= '' then known_here() end  -- the sender itself says so; a lease that ran out says nothing
redis.call('HDEL', KEYS[1], 'looks', 'permit')
local at = now + tonumber(ARGV[4])
local generation = move(from, 'uncertain', at, 'uncertain', { 'reason', ARGV[3] })
local agent = redis.call('HMGET', KEYS[2], 'account', 'agent')
return { 'ok', generation, wake('reconcile:' .. agent[1] .. ':' .. agent[2], at, now) }

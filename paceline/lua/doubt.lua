--! with clock chains circuit ledger
-- Take a submission for uncertain (again), because this machine's spool has a request that the ledger forgot.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 generation of the forgotten request, 4 its attempt, 5 ms until it has surely ended
-- RETURNS {'ok', generation, ms until the reconcile chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'planned', 'uncertain' })
if not from then return { why } end
local now = now_ms()
local attempt = tonumber(redis.call('HGET', KEYS[1], 'attempt'))
redis.call('HSET', KEYS[1], 'attempt', int(math.max(attempt, tonumber(ARGV[4]))))
redis.call('HSET', KEYS[1], 'begun_gen', ARGV[3])
local generation, ms = doubt(from, now, now + tonumber(ARGV[5]), tonumber(ARGV[3]) + 1000, 'ledger_rolled_back')
return { 'ok', generation, ms }

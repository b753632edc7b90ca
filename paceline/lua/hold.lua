--! with clock chains circuit ledger
-- Stop an uncertain submission until a person decides.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 reason
-- RETURNS {'ok', generation} | {'lost'} | {'unknown'}
local from, why = fence({ 'uncertain', 'planned' })
if not from then return { why } end
redis.call('HSET', KEYS[1], 'reason', ARGV[3])
if from == 'uncertain' then redis.call('HSET', KEYS[1], 'in_doubt', 1) end  -- it may have a run: see move()
return { 'ok', move(from, 'held', now_ms(), 'hold', { 'reason', ARGV[3] }) }

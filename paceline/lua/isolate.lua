--! with clock chains circuit ledger
-- Decide whether a failed submission is split in halves. Once for each time it fails: everybody who exports it gets the
-- same answer, however the budget has changed meanwhile, and so writes the same record.
--
-- Its files count as failed no longer then: their outcome is that of the half they end in.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 runs that halving costs, 4 the reason that says so
-- RETURNS {'split'} | {'whole'} | {'lost'} | {'unknown'}
local from, why = fence({ 'finished' })
if not from then return { why } end
local row = redis.call('HMGET', KEYS[1], 'outcome', 'reason', 'files', 'whole')
if row[2] == ARGV[4] then return { 'split' } end
if row[4] == ARGV[2] then return { 'whole' } end
local batch = redis.call('HMGET', KEYS[2], 'choice:isolate', 'isolated', 'paused')
local budget = tonumber(batch[1] or '') or 0
local left = budget - tonumber(batch[2] or '0')
if row[1] ~= 'failed' or tonumber(row[3]) < 2 or left < tonumber(ARGV[3]) or batch[3] == 'cancelled' then
  redis.call('HSET', KEYS[1], 'whole', ARGV[2])
  return { 'whole' }
end
redis.call('HINCRBY', KEYS[2], 'isolated', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'files:failed', -tonumber(row[3]))
ended_by(ARGV[1], row[2], -1)
ended_by(ARGV[1], ARGV[4], 1)
redis.call('HSET', KEYS[1], 'reason', ARGV[4])
return { 'split' }

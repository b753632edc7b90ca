--! with clock chains circuit ledger
-- Ask again after a run that was given up at the time limit: what it returned was paid for. A person's decision.
-- KEYS the way
-- ARGV 1 id, 2 generation
-- RETURNS {'ok', generation, ms until the poll chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'exported' })
if not from then return { why } end
local row = redis.call('HMGET', KEYS[1], 'outcome', 'reason', 'run_id', 'submitted_ms', 'files', 'credits')
if row[2] ~= 'timed_out' or not row[3] then return { 'lost' } end
local now = now_ms()
reopen(from, row[1], row[2])
if row[6] then
  redis.call('HINCRBYFLOAT', KEYS[2], 'credits', '-' .. row[6])
  redis.call('HSET', KEYS[1], 'told', row[6])  -- monitoring has counted them
else
  redis.call('HINCRBY', KEYS[2], 'unpriced', -1)
end
redis.call('HDEL', KEYS[1], 'credits')
local generation = move(from, 'running', now, 'collect', { 'run_id', row[3] })
redis.call('HSET', KEYS[9], ARGV[1], row[3] .. '\n' .. int(generation) .. '\n' .. row[4])
local agent = redis.call('HMGET', KEYS[2], 'account', 'agent')
return { 'ok', generation, wake('poll:' .. agent[1] .. ':' .. agent[2], now, now) }

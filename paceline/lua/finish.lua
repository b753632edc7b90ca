--! with clock chains circuit ledger
-- Record a submission's outcome. The first one stays.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 verb ('finish', 'reject', 'cancel'), 4 states it may come from (comma separated),
--      5 outcome, 6 reason, 7 error JSON or '', 8 raw status, 9 credits or '', 10 run url or '',
--      11 ms after which its export is woken again, 12 finished at (ms, '' = now),
--      13 token of the request this is about, or ''
-- RETURNS {'ok', generation} | {'lost'} | {'unknown'}
local allowed = {}
for state in string.gmatch(ARGV[4], '[^,]+') do allowed[#allowed + 1] = state end
local from, why = fence(allowed)
if not from or not about(ARGV[13]) then return { why or 'lost' } end
local now = now_ms()
redis.call('HSET', KEYS[1], 'outcome', ARGV[5], 'reason', ARGV[6], 'finished_ms', ARGV[12] ~= '' and ARGV[12] or int(now))
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[7]) end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'raw_status', ARGV[8]) end
if ARGV[9] == '' and from == 'running' then redis.call('HINCRBY', KEYS[2], 'unpriced', 1) end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'credits', ARGV[9])
  redis.call('HINCRBYFLOAT', KEYS[2], 'credits', ARGV[9])
  local told = tonumber(redis.call('HGET', KEYS[1], 'told') or '0')  -- before it was collected
  redis.call('HINCRBYFLOAT', KEYS[14], 't:credits', tostring(tonumber(ARGV[9]) - told))
  if tonumber(ARGV[9]) > tonumber(redis.call('HGET', KEYS[2], 'credits_most') or '0') then
    redis.call('HSET', KEYS[2], 'credits_most', ARGV[9])
  end
end
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'run_url', ARGV[10]) end
redis.call('HDEL', KEYS[1], 'permit')
local submitted = redis.call('HGET', KEYS[1], 'submitted_ms')
if submitted then
  redis.call('HINCRBY', KEYS[2], 'runs_done', 1)
  local lasted = math.max(now - tonumber(submitted), 0)
  redis.call('HINCRBY', KEYS[2], 'runs_ms', int(lasted))
  observe(KEYS[2], 'run_s', lasted)
  observe(KEYS[14], 't:run_s', lasted)
end
redis.call('HINCRBY', KEYS[2], 'o:' .. ARGV[5], 1)
redis.call('HINCRBY', KEYS[2], 'files:' .. ARGV[5], redis.call('HGET', KEYS[1], 'files'))
if ARGV[5] ~= 'succeeded' then ended_by(ARGV[1], ARGV[6], 1) end
tally('ended:' .. ARGV[5])
return { 'ok', move(from, 'finished', now + tonumber(ARGV[11]), ARGV[3], { 'outcome', ARGV[5], 'reason', ARGV[6] }) }

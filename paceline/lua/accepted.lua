--! with clock chains circuit ledger
-- Record the run that a submission has at the provider. Evidence is never refused, only placed.
--
-- An outcome of the attempt that is under way, or in doubt, moves the submission to running. Evidence that comes
-- after absence had been proven, even while the next attempt is under way, or while a person is to decide, is adopted:
-- that attempt's own outcome then comes too late, or is an alarm. A second run is an alarm, not a state.
-- Whoever answers has counted the request before: the life of its permit ends with the answer (see pace.lua).
-- KEYS the way, 17 digests string, 18 pace log (add)
-- ARGV 1 id, 2 '', 3 attempt ('' = whichever), 4 run id, 5 run url, 6 ms until the first poll, 7 digests or '',
--      8 external id, 9 started at (ms, '' = now), 10 credits or '', 11 a permit's life in ms, where an add request has just been
--      answered, else ''
-- RETURNS {'ok', generation, ms until the poll chain wants a message or -1, the same of the feed chain} | {'duplicate', run id on record} | {'unknown'}
local row = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'run_id', 'past', 'permit', 'begun_ms')
local state = row[1]
if not state then return { 'unknown' } end
local now = now_ms()
local past = row[4] and string.find(' ' .. row[4] .. ' ', ' ' .. ARGV[4] .. ' ', 1, true)  -- an earlier attempt's, retried
if row[3] == ARGV[4] or past then
  -- Rescue may have handed the sender's note in first, and a note has no digests.
  local open = row[3] == ARGV[4] and (state == 'running' or state == 'finished')
  if open and ARGV[7] ~= '' then redis.call('SET', KEYS[17], ARGV[7], 'NX') end
  return { 'ok', redis.call('HGET', KEYS[1], 'generation'), -1, -1 }
end
local same = ARGV[3] == '' or ARGV[3] == row[2]
local verb = nil
if (state == 'submitting' or state == 'uncertain') and same then verb = 'accepted' end
if state == 'submitting' or state == 'uncertain' or state == 'planned' or state == 'held' then verb = verb or 'adopt' end
if not verb or row[3] then
  local cost, price = 'cost:' .. ARGV[4], ARGV[10]
  local news = price ~= '' and redis.call('HSETNX', KEYS[2], cost, price) == 1
  if ARGV[3] ~= '' then circuit_close(KEYS[14]) end
  if news then redis.call('HINCRBYFLOAT', KEYS[2], 'credits_twice', price) end
  if redis.call('HSETNX', KEYS[2], 'duplicate:' .. ARGV[4], ARGV[1]) == 0 then
    if news then redis.call('HINCRBY', KEYS[2], 'unpriced', -1) end
    return { 'duplicate', row[3] or '' }
  end
  redis.call('HINCRBY', KEYS[2], 'duplicate_runs', 1)
  if price == '' then redis.call('HINCRBY', KEYS[2], 'unpriced', 1) end
  note('duplicate', state, state, redis.call('HGET', KEYS[1], 'generation'), { 'run_id', ARGV[4] })
  return { 'duplicate', row[3] or '' }
end
local started = ARGV[9] ~= '' and tonumber(ARGV[9]) or now
redis.call('HSET', KEYS[1], 'run_id', ARGV[4], 'submitted_ms', int(started))
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'run_url', ARGV[5]) end
if row[2] == '0' then  -- sent in an earlier life of the ledger
  redis.call('HSET', KEYS[1], 'attempt', 1)
  redis.call('HINCRBY', KEYS[2], 'req:add', 1)
end
if ARGV[11] ~= '' and state == 'submitting' and same and row[5] then
  local answered = math.max(now, tonumber(row[6] or '0'))  -- never before it was sent, whatever the clock says
  redis.call('ZADD', KEYS[18], 'XX', 'LT', answered - tonumber(ARGV[11]), row[5])
end
redis.call('HDEL', KEYS[1], 'looks', 'look_ms', 'doubt_ms', 'permit')
redis.call('HDEL', KEYS[2], 'trouble')
local was_open = ARGV[3] ~= '' and circuit_close(KEYS[14])  -- its provider is there: it has just answered
if ARGV[7] ~= '' then redis.call('SET', KEYS[17], ARGV[7]) end
redis.call('HINCRBY', KEYS[2], 'runs_accepted', 1)
redis.call('HSET', KEYS[15], 'external_id', ARGV[8], 'run_id', ARGV[4], 'seen_ms', int(now))
local due = now + tonumber(ARGV[6])
local generation = move(state, 'running', due, verb, { 'run_id', ARGV[4] })
redis.call('HSET', KEYS[9], ARGV[1], ARGV[4] .. '\n' .. int(generation) .. '\n' .. int(started))
local gap = tonumber(redis.call('GET', KEYS[16]) or '0')
local agent = redis.call('HMGET', KEYS[2], 'account', 'agent')
return { 'ok', generation, wake('poll:' .. agent[1] .. ':' .. agent[2], math.max(due, gap), now),
  was_open and wake('feed:' .. agent[1], now, now) or -1 }

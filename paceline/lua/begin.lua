--! with clock chains circuit ledger pace
-- Take a permit and write the intent to POST, both or neither.
--
-- A submission that became planned under another server's life may have been sent in what that one lost (an older
-- file put back, a tail not written, a replica that took over): unless every write was synced (pace: durable), it is
-- taken for uncertain first, or, where the provider can't be asked, the account waits for a person.
-- KEYS the way, 17 pace log, 18 pace state
-- ARGV 1 id, 2 generation, 3 worker, 4 lease in ms, 5 token of this request, 6 '1' if the provider can be asked for
--      submissions, 7 class of the request ('add', 'wait'), 8… pace (limit, window ms, durable, host, boot clock ms)
-- RETURNS {'granted', generation, attempt, permit} | {'wait', ms, ms until the feed chain wants a message or -1} | {'paused', reason}
--   | {'doubt', ms until the reconcile chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'planned' })
if not from then return { why } end
local now = now_ms()
local batch = string.match(ARGV[1], '^(.*)%-')

-- Back among the planned ones, in its place.
local function stay()
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('ZADD', KEYS[4], tonumber(string.match(ARGV[1], '(%d+)$')), ARGV[1])
  feedable(batch)
end

local function wait_for(ms)
  stay()
  return { 'wait', int(ms), wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now + ms, now) }
end

-- The hard caps. What may have been started counts as started, what it may cost as spent: `perhaps` are the requests
-- that were decided on, by a person or by `on_uncertain`, without knowing what came of them, and those of which a rebuilt
-- ledger has a number only. Returns why the batch has to stop, and the message; or ms to wait until more is known.
local function capped()
  local row = redis.call('HMGET', KEYS[2], 'choice:max_runs', 'choice:max_credits', 'runs_accepted', 'duplicate_runs',
    'n:submitting', 'n:uncertain', 'n:held', 'n:running', 'credits', 'credits_most', 'credits_twice', 'perhaps', 'unpriced')
  local n = function(at) return tonumber(row[at] or '0') end
  local open = n(5) + n(6)
  if row[1] and row[1] ~= '' then
    local most, known = tonumber(row[1]), n(3) + n(4) + n(12)
    if known + open + n(7) >= most then
      if known < most and open > 0 then return nil, nil, 1000 end
      return 'max_runs', int(known + n(7)) .. ' runs were started, and no more than ' .. row[1] .. ' are allowed'
    end
  end
  if row[2] and row[2] ~= '' then
    local most, under_way = tonumber(row[2]), open + n(8)
    local unknown = n(7) + n(12) + n(13)  -- runs, perhaps, whose price nobody told
    local spent = n(9) + n(11) + n(10) * unknown
    if not row[10] and under_way > 0 then return nil, nil, 1000 end  -- the first run goes alone, to learn what one costs
    if not row[10] and unknown > 0 then
      return 'max_credits', 'what a run costs is not known, so no limit of ' .. row[2] .. ' credits can be kept'
    end
    if spent >= most or spent + n(10) * (under_way + 1) > most then
      if under_way > 0 then return nil, nil, 1000 end
      return 'max_credits', 'another run could pass the limit of ' .. row[2] .. ' credits (' .. spent .. ' spent, up to '
        .. n(10) .. ' for a run)'
    end
  end
end

local paused = redis.call('HGET', KEYS[14], 'paused') or redis.call('HGET', KEYS[2], 'paused')
if paused then
  stay()
  return { 'paused', paused }
end
local down, trial = circuit_wait(KEYS[14], ARGV[1], now)
if down > 0 then return wait_for(down) end
local cap, message, later = capped()
if later then
  redis.call('HSET', KEYS[2], 'not_before', int(now + later))
  return wait_for(later)
end
if cap then
  stay()
  stop_batch(batch, cap, message .. '; give a higher --' .. string.gsub(cap, '_', '-') .. ' to go on', now)
  return { 'paused', cap }
end
local pace = pace_args(KEYS[17], KEYS[18], 8)
local server = string.sub(server_facts() or '', 1, 12)
local life = redis.call('HGET', KEYS[1], 'server')
if not pace.durable and server ~= '' and life ~= server then
  local account = redis.call('HMGET', KEYS[14], 'server', 'server_ms', 'sure')
  if account[1] ~= server then
    redis.call('HSET', KEYS[14], 'server', server, 'server_ms', int(now))
    account[2] = now
  end
  if ARGV[6] == '1' then
    local over = tonumber(account[2]) + tonumber(ARGV[4])
    -- The jump leaves behind every generation that whoever was sending may still hold.
    local _, ms = doubt('planned', now, over, tonumber(ARGV[2]) + 1000, 'ledger_restarted')
    known_here()
    return { 'doubt', ms }
  end
  if account[3] ~= server then
    redis.call('HSET', KEYS[14], 'paused', 'ledger_restarted', 'paused_ms', int(now), 'paused_message',
      'Redis was restarted or replaced, and this provider cannot be asked what it has; if Redis kept everything: '
      .. 'paceline resume --account ' .. redis.call('HGET', KEYS[2], 'account'))
    stay()
    return { 'paused', 'ledger_restarted' }
  end
end
local permit, wait = pace_take(pace, now)
if not permit then return wait_for(wait) end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
local lease = now + tonumber(ARGV[4])
if trial then circuit_try(KEYS[14], ARGV[1], now) end
redis.call('HSET', KEYS[1], 'worker', ARGV[3], 'begun_ms', int(now), 'permit', permit, 'token', ARGV[5])
redis.call('HSETNX', KEYS[2], 'started_ms', int(now))
redis.call('HDEL', KEYS[2], 'not_before')
redis.call('HSET', KEYS[1], 'class', ARGV[7])
redis.call('HINCRBY', KEYS[2], 'req:' .. ARGV[7], 1)
local generation = move('planned', 'submitting', lease, 'begin', { 'worker', ARGV[3] })
redis.call('HSET', KEYS[1], 'begun_gen', generation)
return { 'granted', generation, attempt, permit }

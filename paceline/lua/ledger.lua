-- Shared by every script that moves one submission from state to state.
--
-- KEYS, always in this order (redis_keys.way):
--   1 submission hash     5 released zset    9 runs hash     13 feed zset
--   2 batch hash          6 leases zset     10 exports zset  14 account hash
--   3 journal stream      7 uncertain zset  11 held zset     15 known hash
--   4 planned zset        8 due zset        12 chains zset   16 gap string
-- ARGV always begins: 1 submission id, 2 expected generation ('' = whatever it is).
--
-- A submission stands in exactly one of the zsets below, the one of its state; move() keeps that true.

local HOME = { planned = 4, submitting = 6, uncertain = 7, running = 8, finished = 10, held = 11 }

-- Integers as text; Lua would print large ones as 1e+15.
local function int(number)
  return string.format('%.0f', number)
end

-- The index that ends an id. From 10⁹ on it is a half's: see paceline/halving.py.
local function index_of(id)
  return tonumber(string.match(id, '(%d+)$'))
end

-- Count a submission whose index says that it is a half, for a ledger that is rebuilt; tell whether it is.
local function count_half(halves)
  local index = index_of(ARGV[1])
  if index < 1e9 then return false end
  redis.call('HINCRBY', KEYS[2], 'extra', 1)
  redis.call('HINCRBY', KEYS[2], 'isolated', 1)
  redis.call('ZADD', halves, index, ARGV[1])
  return true
end

-- The submission's state if it is one of the allowed ones and the generation matches; else nil and why.
local function fence(allowed)
  local row = redis.call('HMGET', KEYS[1], 'state', 'generation')
  if not row[1] then return nil, 'unknown' end
  if ARGV[2] ~= '' and row[2] ~= ARGV[2] then return nil, 'lost' end
  -- Of a batch that is being removed, only what is exported is left.
  if row[1] == 'exported' and redis.call('HEXISTS', KEYS[2], 'account') == 0 then return nil, 'unknown' end
  for _, state in ipairs(allowed) do
    if row[1] == state then return state end
  end
  return nil, 'lost'
end

-- Tell whether a verdict is about the request under way; a late one may meet another request of the same generation.
local function about(token)
  return (token or '') == '' or token == redis.call('HGET', KEYS[1], 'token')
end

-- Count something that happened for an account, for ever: what monitoring shows. Nothing is decided by it.
local function tally(name, by)
  redis.call('HINCRBY', KEYS[14], 't:' .. name, by or 1)
end

-- Count a duration in a histogram: a field for each bucket, named by its upper bound in seconds, and their sum in ms.
-- paceline/tallies.py has the same bounds.
local BOUNDS = { 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 21600 }

local function observe(key, name, ms)
  local bucket = 'inf'
  for _, bound in ipairs(BOUNDS) do
    if ms <= bound * 1000 then
      bucket = string.format('%g', bound)
      break
    end
  end
  redis.call('HINCRBY', key, name .. ':' .. bucket, 1)
  redis.call('HINCRBY', key, name .. ':sum', int(math.max(ms, 0)))
end

-- Count why a submission didn't succeed (`by` 1), or count it no longer (-1), and note it so that it is found by the
-- reason: in a zset of `reason LF id` beside the batch hash, all of the same score.
local function ended_by(id, reason, by)
  if redis.call('HINCRBY', KEYS[2], 'why:' .. reason, by) == 0 then redis.call('HDEL', KEYS[2], 'why:' .. reason) end
  local key, member = KEYS[2] .. ':ended', reason .. '\n' .. id
  if by > 0 then redis.call('ZADD', key, 0, member) else redis.call('ZREM', key, member) end
end

-- Append to a batch's journal, and note the entry's id in the submission's hash as a field `j:ID`: a batch of 100,000
-- submissions has half a million entries, and a page about one wants its own. A field for each keeps the hash compact.
local function append(hash, journal, entry)
  redis.call('HSET', hash, 'j:' .. redis.call('XADD', journal, '*', unpack(entry)), '')
end

-- Append to the batch's journal. facts: flat list of names and values.
local function note(verb, from, to, generation, facts)
  local entry = { 'submission', ARGV[1], 'verb', verb, 'from', from, 'to', to, 'generation', int(generation),
                  'attempt', redis.call('HGET', KEYS[1], 'attempt') or '0' }
  for _, fact in ipairs(facts or {}) do entry[#entry + 1] = fact end
  append(KEYS[1], KEYS[3], entry)
  tally('verb:' .. verb)
end

-- Let the batch be fed (unless it is paused): its fair share starts at the account's present, not at zero.
local function feedable(batch)
  if redis.call('HEXISTS', KEYS[2], 'paused') == 1 then return end
  local priority = tonumber(redis.call('HGET', KEYS[2], 'priority') or '0')
  local present = tonumber(redis.call('HGET', KEYS[14], 'share:' .. int(priority)) or '0')
  redis.call('ZADD', KEYS[13], 'NX', present - priority * 1e9, batch)
end

-- Make a chain due at `at` ms; see chains.lua.
local function wake(chain, at, now)
  return wake_chain(KEYS[12], chain, at, now)
end

-- Move the submission; `score` places it among its peers in the new state. Returns the new generation.
local function move(from, to, score, verb, facts)
  local id = ARGV[1]
  local generation = redis.call('HINCRBY', KEYS[1], 'generation', 1)
  redis.call('HSET', KEYS[1], 'state', to)
  redis.call('HINCRBY', KEYS[2], 'n:' .. from, -1)
  redis.call('HINCRBY', KEYS[2], 'n:' .. to, 1)
  if HOME[from] then redis.call('ZREM', KEYS[HOME[from]], id) end
  if from == 'planned' then redis.call('ZREM', KEYS[5], id) end
  if from == 'running' then redis.call('HDEL', KEYS[9], id) end
  if from == 'submitting' then circuit_tried(KEYS[14], id) end
  if to ~= 'running' and ((from == 'held' and redis.call('HDEL', KEYS[1], 'in_doubt') == 1)
      or (from == 'uncertain' and verb == 'resubmit')) then
    redis.call('HINCRBY', KEYS[2], 'perhaps', 1)  -- it was decided on without knowing whether it has a run
  end
  if HOME[to] then redis.call('ZADD', KEYS[HOME[to]], score, id) end
  note(verb, from, to, generation, facts)
  return generation
end

-- Note the server under whose life it became known that no request for the submission is on its way: another one may
-- have lost what came after. See begin.lua and absent.lua.
local function known_here()
  local server = server_facts()
  if server then redis.call('HSET', KEYS[1], 'server', string.sub(server, 1, 12)) end
end

-- Count a submission for the tolerance of failures: what was split, cancelled or left out says nothing.
local function judged(outcome, reason, by)
  if reason == 'split' or (outcome ~= 'succeeded' and outcome ~= 'failed') then return end
  local left = redis.call('HINCRBY', KEYS[2], 'judged:' .. outcome, by)
  -- What a person has let pass and sends again is judged anew.
  local passed = 'passed:' .. outcome
  if by < 0 and tonumber(redis.call('HGET', KEYS[2], passed) or '0') > left then redis.call('HSET', KEYS[2], passed, left) end
end

-- Stop feeding the batch until a person says otherwise; what is under way goes on. Another reason stays, but for a cap.
local function stop_batch(batch, reason, message, now)
  local why = redis.call('HGET', KEYS[2], 'paused')
  if why and why ~= 'max_runs' and why ~= 'max_credits' then return end
  redis.call('HSET', KEYS[2], 'paused', reason, 'paused_message', message, 'paused_ms', int(now))
  redis.call('ZREM', KEYS[13], batch)
end

-- Take a submission for uncertain (again), because the ledger may have forgotten a request. `over_ms`: when a request
-- that was under way has surely ended; absence is proven by looks that come the settling time after it.
local function doubt(from, now, over_ms, generation, reason)
  local known = tonumber(redis.call('HGET', KEYS[1], 'generation'))
  redis.call('HSET', KEYS[1], 'generation', int(math.max(known, generation)), 'doubt_ms', int(over_ms))
  redis.call('HDEL', KEYS[1], 'looks', 'look_ms', 'permit')
  local new = move(from, 'uncertain', now, 'doubt', { 'reason', reason })
  local agent = redis.call('HMGET', KEYS[2], 'account', 'agent')
  return new, wake('reconcile:' .. agent[1] .. ':' .. agent[2], now, now)
end

-- Undo what finish.lua and exported.lua counted, and open the batch again; its output stands until the next commit.
local function reopen(from, outcome, reason)
  if from == 'exported' then judged(outcome, reason, -1) end
  redis.call('HINCRBY', KEYS[2], 'o:' .. outcome, -1)
  redis.call('HINCRBY', KEYS[2], 'files:' .. outcome, -tonumber(redis.call('HGET', KEYS[1], 'files')))
  if outcome ~= 'succeeded' then ended_by(ARGV[1], reason, -1) end
  redis.call('HDEL', KEYS[1], 'outcome', 'reason', 'error', 'raw_status', 'finished_ms')
  redis.call('HDEL', KEYS[2], 'closed', 'closing', 'finished_ms', 'audit_at', 'audit_tries')
end

-- Put the submission back among the planned ones, first in its batch's order.
local function to_planned(from, verb, facts)
  local batch = string.match(ARGV[1], '^(.*)%-')
  local index = tonumber(string.match(ARGV[1], '(%d+)$'))
  local generation = move(from, 'planned', index, verb, facts)
  feedable(batch)
  return generation
end

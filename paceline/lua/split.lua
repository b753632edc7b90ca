--! with clock chains circuit ledger
-- Record that every sink holds the record of a submission that is split, and plan its halves: both or neither, so that
-- no half is ever sent whose parent's record doesn't tell of it.
--
-- The halves inherit the life of Redis under which the whole was first planned: if another one has taken over since,
-- even before the whole was found to have failed, they may have been sent in what was lost, and begin.lua asks first.
-- Those of one that a rebuilt ledger knew no end of are uncertain at once: its record, which would tell of them, may
-- have been lost with the ledger.
-- KEYS the way, 17 digests string, 18 halves zset, then of each half: 19, 21 hash, 20, 22 files string
-- ARGV 1 id, 2 generation, 3 the reason that a split one has, then of each half: id, number of files, bytes,
--      files (compressed)
-- RETURNS {'ok', generation, ms until the feed chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'finished' })
if not from then return { why } end
local row = redis.call('HMGET', KEYS[1], 'reason', 'origin', 'reborn')
if row[1] ~= ARGV[3] then return { 'lost' } end
local now = now_ms()
local state = row[3] and 'uncertain' or 'planned'
local first = row[3] and math.floor(now / 1000) or 1  -- above every generation of an earlier life: see plan.lua
local generation = move(from, 'exported', 0, 'split', { 'halves', ARGV[4] .. ' ' .. ARGV[8] })
redis.call('PEXPIRE', KEYS[17], 3600000)  -- another export may be under way and still read them
for n = 0, 1 do
  local hash, id, files = KEYS[19 + 2 * n], ARGV[4 + 4 * n], ARGV[5 + 4 * n]
  if redis.call('EXISTS', hash) == 0 then
    redis.call('HSET', hash, 'state', state, 'generation', int(first), 'attempt', 0, 'files', files,
               'bytes', ARGV[6 + 4 * n], 'planned_ms', int(now))
    if row[2] then redis.call('HSET', hash, 'server', row[2], 'origin', row[2]) end
    redis.call('SET', KEYS[20 + 2 * n], ARGV[7 + 4 * n])
    redis.call('HINCRBY', KEYS[2], 'n:' .. state, 1)
    redis.call('HINCRBY', KEYS[2], 'total', 1)
    redis.call('HINCRBY', KEYS[2], 'extra', 1)
    redis.call('ZADD', KEYS[18], index_of(id), id)
    append(hash, KEYS[3], { 'submission', id, 'verb', 'plan', 'from', '', 'to', state, 'generation', int(first),
                            'attempt', 0 })
    if row[3] then
      redis.call('HSET', hash, 'doubt_ms', int(now), 'reborn', 1)
      redis.call('ZADD', KEYS[7], now, id)
    else
      redis.call('ZADD', KEYS[4], index_of(id), id)
    end
  end
end
if row[3] then
  local agent = redis.call('HMGET', KEYS[2], 'account', 'agent')
  wake('reconcile:' .. agent[1] .. ':' .. agent[2], now, now)
  return { 'ok', generation, -1 }
end
feedable(string.match(ARGV[1], '^(.*)%-'))
return { 'ok', generation, wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now, now) }

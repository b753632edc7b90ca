--! with clock chains circuit ledger
-- Send a submission whose run failed once more: by a person's word, or by policy before it is exported. It is paid for
-- again; the earlier runs stay on record.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 why ('by_person', 'policy')
-- RETURNS {'ok', generation, ms until the feed chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'finished', 'exported' })
if not from then return { why } end
local row = redis.call('HMGET', KEYS[1], 'outcome', 'reason', 'run_id', 'credits', 'past', 'past_credits')
-- A run that was given up at the time limit may still end: it is collected, not paid for again.
-- The files of one that was split are with its halves.
local again = row[1] == 'failed' or (row[1] == 'cancelled' and row[2] == 'cancelled')
if not again or row[2] == 'timed_out' or row[2] == 'split' then return { 'lost' } end
local now = now_ms()
reopen(from, row[1], row[2])
if row[3] then
  redis.call('HSET', KEYS[1], 'past', row[5] and row[5] .. ' ' .. row[3] or row[3])
  if row[1] == 'cancelled' then  -- the provider doesn't have it any more
    local gone = redis.call('HGET', KEYS[1], 'gone')
    redis.call('HSET', KEYS[1], 'gone', gone and gone .. ' ' .. row[3] or row[3])
  end
end
if row[4] then redis.call('HINCRBYFLOAT', KEYS[1], 'past_credits', row[4]) end
redis.call('HDEL', KEYS[1], 'run_id', 'run_url', 'submitted_ms', 'credits', 'looks', 'look_ms', 'doubt_ms')
local generation = to_planned(from, 'retry', { 'reason', ARGV[3], 'run_id', row[3] or '' })
return { 'ok', generation, wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now, now) }

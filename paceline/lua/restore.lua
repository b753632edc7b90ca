--! with clock chains circuit ledger
-- Register a submission whose record is at every sink, as exported: for a ledger that is rebuilt.
-- KEYS the way, 17 files string, 18 halves zset
-- ARGV 1 submission id, 2 '', 3 number of files, 4 bytes, 5 files (compressed), 6 manifest offset after it,
--      7 skipped files up to there, 8 outcome, 9 reason, 10 attempts, 11 run id or '', 12 run url or '',
--      13 error JSON or '', 14 raw status or '', 15 credits or '', 16 planned at (ms), 17 submitted at (ms) or '',
--      18 finished at (ms) or '', 19 external id, 20 '1' if it was split: its files are with its halves
-- RETURNS 1 if it is new, 0 if it was there (and is unchanged), -1 if the ledger has no such batch
if redis.call('HEXISTS', KEYS[2], 'account') == 0 then return -1 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'exported', 'generation', 1, 'attempt', ARGV[10], 'files', ARGV[3], 'bytes', ARGV[4],
           'planned_ms', ARGV[16], 'outcome', ARGV[8], 'reason', ARGV[9])
local facts = { run_id = 11, run_url = 12, error = 13, raw_status = 14, credits = 15, submitted_ms = 17, finished_ms = 18 }
for name, at in pairs(facts) do
  if ARGV[at] ~= '' then redis.call('HSET', KEYS[1], name, ARGV[at]) end
end
redis.call('SET', KEYS[17], ARGV[5])
local counts = { total = false, ['n:exported'] = false, ['o:' .. ARGV[8]] = false, ['req:add'] = 10 }
if not count_half(KEYS[18]) then counts['files'], counts['bytes'] = 3, 4 end
if ARGV[20] ~= '1' then counts['files:' .. ARGV[8]] = 3 end
for name, at in pairs(counts) do
  redis.call('HINCRBY', KEYS[2], name, at and ARGV[at] or 1)
end
judged(ARGV[8], ARGV[9], 1)
if ARGV[8] ~= 'succeeded' then ended_by(ARGV[1], ARGV[9], 1) end
if ARGV[15] ~= '' then
  redis.call('HINCRBYFLOAT', KEYS[2], 'credits', ARGV[15])
  local dearest = tonumber(redis.call('HGET', KEYS[2], 'credits_most') or '0')
  if tonumber(ARGV[15]) > dearest then redis.call('HSET', KEYS[2], 'credits_most', ARGV[15]) end
elseif ARGV[11] ~= '' then
  redis.call('HINCRBY', KEYS[2], 'unpriced', 1)
end
-- Of earlier attempts only their number is known: each may have had a run.
local earlier = tonumber(ARGV[10]) - (ARGV[11] ~= '' and 1 or 0)
if earlier > 0 then redis.call('HINCRBY', KEYS[2], 'perhaps', earlier) end
redis.call('HSET', KEYS[2], 'manifest_bytes', ARGV[6], 'files_skipped', ARGV[7])
local submitted, finished = tonumber(ARGV[17]), tonumber(ARGV[18])
if submitted then
  local started = tonumber(redis.call('HGET', KEYS[2], 'started_ms') or ARGV[17])
  redis.call('HSET', KEYS[2], 'started_ms', int(math.min(started, submitted)))
end
if finished then
  local last = tonumber(redis.call('HGET', KEYS[2], 'last_ms') or '0')
  redis.call('HSET', KEYS[2], 'last_ms', int(math.max(last, finished)))
end
if ARGV[11] ~= '' then
  redis.call('HINCRBY', KEYS[2], 'runs_accepted', 1)
  if submitted and finished then
    redis.call('HINCRBY', KEYS[2], 'runs_done', 1)
    local lasted = math.max(finished - submitted, 0)
    redis.call('HINCRBY', KEYS[2], 'runs_ms', int(lasted))
    observe(KEYS[2], 'run_s', lasted)
  end
  -- The positive control of lists: the youngest run is the likeliest to be still there.
  local seen = tonumber(redis.call('HGET', KEYS[15], 'seen_ms') or '-1')
  if (submitted or 0) > seen then
    redis.call('HSET', KEYS[15], 'external_id', ARGV[19], 'run_id', ARGV[11], 'seen_ms', int(submitted or 0))
  end
end
note('restore', '', 'exported', 1, { 'outcome', ARGV[8], 'reason', ARGV[9], 'run_id', ARGV[11] })
return 1

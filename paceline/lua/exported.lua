--! with clock chains circuit ledger
-- Record that every sink holds a submission durably; the last one closes the batch.
-- KEYS the way, 17 digests string
-- ARGV 1 id, 2 generation
-- RETURNS {'ok', generation, ms until the close chain wants a message or -1} | {'lost'} | {'unknown'}
local SAMPLE = 20  -- submissions, before a share of them says anything

-- Stop feeding a batch of which more has failed than is tolerated, not counting what a person has let pass.
local function tolerate(batch, now)
  local row = redis.call('HMGET', KEYS[2], 'choice:max_failures', 'judged:failed', 'judged:succeeded', 'passed:failed',
    'passed:succeeded')
  if not row[1] or row[1] == '' then return end
  local failed = tonumber(row[2] or '0') - tonumber(row[4] or '0')
  local judged_all = failed + tonumber(row[3] or '0') - tonumber(row[5] or '0')
  local share = string.match(row[1], '^([%d.]+)%%$')
  local most = share and judged_all * tonumber(share) / 100 or tonumber(row[1])
  if failed <= most or (share and judged_all < SAMPLE) then return end
  stop_batch(batch, 'too_many_failures', failed .. ' of ' .. judged_all .. ' submissions failed, more than '
    .. row[1] .. '; go on with: paceline resume ' .. batch, now)
end

local from, why = fence({ 'finished' })
if not from then return { why } end
local now = now_ms()
local generation = move(from, 'exported', 0, 'exported')
redis.call('PEXPIRE', KEYS[17], 3600000)  -- another export may be under way and still read them
local ended = redis.call('HMGET', KEYS[1], 'outcome', 'reason', 'finished_ms')
if ended[3] then observe(KEYS[14], 't:export_s', now - tonumber(ended[3])) end
judged(ended[1], ended[2], 1)
tolerate(string.match(ARGV[1], '^(.*)%-'), now)
local row = redis.call('HMGET', KEYS[2], 'listed', 'total', 'n:exported')
if row[1] == '1' and row[2] == row[3] then
  redis.call('HSET', KEYS[2], 'closing', 1)
  redis.call('HSETNX', KEYS[2], 'finished_ms', int(now))
  return { 'ok', generation, wake('close:' .. string.match(ARGV[1], '^(.*)%-'), now, now) }
end
return { 'ok', generation, -1 }

--! with clock chains ledger pace
-- Take a permit and write the intent to POST, both or neither.
--
-- A submission that became planned under another server's life may have been sent in what that one lost (an older
-- file put back, a tail not written, a replica that took over): unless every write was synced (pace: durable), it is
-- taken for uncertain first, or, where the provider can't be asked, the account waits for a person.
-- KEYS the way, 17 pace log, 18 pace state
-- ARGV 1 id, 2 generation, 3 worker, 4 lease in ms, 5 token of this request, 6 '1' if the provider can be asked for
--      submissions, 7… pace (limit, window ms, durable, host, boot clock ms)
-- RETURNS {'granted', generation, attempt, permit} | {'wait', ms, ms until the feed chain wants a message or -1} | {'paused', reason}
--   | {'doubt', ms until the reconcile chain wants a message or -1} | {'lost'} | {'unknown'}
local from, why = fence({ 'planned' })
if not from then return { why } end
local now = now_ms()
local paused = redis.call('HGET', KEYS[14], 'paused') or redis.call('HGET', KEYS[2], 'paused')
if paused then
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('ZADD', KEYS[4], tonumber(string.match(ARGV[1], '(%d+)$')), ARGV[1])
  feedable(string.match(ARGV[1], '^(.*)%-'))
  return { 'paused', paused }
end
local pace = pace_args(KEYS[17], KEYS[18], 7)
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
    redis.call('ZREM', KEYS[5], ARGV[1])
    redis.call('ZADD', KEYS[4], tonumber(string.match(ARGV[1], '(%d+)$')), ARGV[1])
    feedable(string.match(ARGV[1], '^(.*)%-'))
    return { 'paused', 'ledger_restarted' }
  end
end
local permit, wait = pace_take(pace, now)
if not permit then
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('ZADD', KEYS[4], tonumber(string.match(ARGV[1], '(%d+)$')), ARGV[1])
  feedable(string.match(ARGV[1], '^(.*)%-'))
  return { 'wait', int(wait), wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now + wait, now) }
end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
local lease = now + tonumber(ARGV[4])
redis.call('HSET', KEYS[1], 'worker', ARGV[3], 'begun_ms', int(now), 'permit', permit, 'token', ARGV[5])
redis.call('HSETNX', KEYS[2], 'started_ms', int(now))
redis.call('HINCRBY', KEYS[2], 'req:add', 1)
local generation = move('planned', 'submitting', lease, 'begin', { 'worker', ARGV[3] })
redis.call('HSET', KEYS[1], 'begun_gen', generation)
return { 'granted', generation, attempt, permit }

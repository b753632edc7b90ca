--! with clock chains ledger pace
-- Take a permit and write the intent to POST, both or neither.
-- KEYS the way, 17 pace log, 18 pace state
-- ARGV 1 id, 2 generation, 3 worker, 4 lease in ms, 5… pace (limit, window ms, durable, host, boot clock ms)
-- RETURNS {'granted', generation, attempt, permit} | {'wait', ms, ms until the feed chain wants a message or -1} | {'paused', reason} | {'lost'} | {'unknown'}
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
local permit, wait = pace_take(pace_args(KEYS[17], KEYS[18], 5), now)
if not permit then
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('ZADD', KEYS[4], tonumber(string.match(ARGV[1], '(%d+)$')), ARGV[1])
  feedable(string.match(ARGV[1], '^(.*)%-'))
  return { 'wait', int(wait), wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now + wait, now) }
end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
local lease = now + tonumber(ARGV[4])
redis.call('HSET', KEYS[1], 'worker', ARGV[3], 'begun_ms', int(now), 'permit', permit)
redis.call('HSETNX', KEYS[2], 'started_ms', int(now))
redis.call('HINCRBY', KEYS[2], 'req:add', 1)
local generation = move('planned', 'submitting', lease, 'begin', { 'worker', ARGV[3] })
return { 'granted', generation, attempt, permit }

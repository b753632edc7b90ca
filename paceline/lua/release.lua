--! with clock pace
-- Release the next planned submissions of an account: no more than permits are free, fairly between its batches.
--
-- Batches of higher priority go first; among equals each release costs one unit of a batch's fair share.
-- KEYS 1 account hash, 2 feed zset, 3 released zset, 4 pace log, 5 pace state
-- ARGV 1 most released at once, 2 ms after which a release is taken for lost, 3 template of a planned key,
--      4 template of a batch key, 5… pace (limit, window ms, durable, host, boot clock ms)
-- RETURNS {ms until it is worth coming again or -1 if nothing is left to feed, submission id …}
local now = now_ms()
local p = pace_args(KEYS[4], KEYS[5], 5)
if redis.call('HEXISTS', KEYS[1], 'paused') == 1 then return { -1 } end
local lost = redis.call('ZRANGE', KEYS[3], '-inf', now, 'BYSCORE')
for _, id in ipairs(redis.call('ZRANGE', KEYS[3], now + 2 * tonumber(ARGV[2]), '+inf', 'BYSCORE')) do
  lost[#lost + 1] = id  -- from before the clock was set back
end
for _, id in ipairs(lost) do
  -- Its message was lost, or waits in a long queue; a second one does no harm.
  redis.call('ZREM', KEYS[3], id)
  local batch = string.match(id, '^(.*)%-')
  redis.call('ZADD', string.format(ARGV[3], batch), tonumber(string.match(id, '(%d+)$')), id)
  if redis.call('HEXISTS', string.format(ARGV[4], batch), 'paused') == 0 then
    local priority = tonumber(redis.call('HGET', string.format(ARGV[4], batch), 'priority') or '0')
    local present = tonumber(redis.call('HGET', KEYS[1], 'share:' .. string.format('%.0f', priority)) or '0')
    redis.call('ZADD', KEYS[2], 'NX', present - priority * 1e9, batch)
  end
end
local free, wait = pace_free(p, now)
local waiting = redis.call('ZCARD', KEYS[3])
local room = math.min(free, tonumber(ARGV[1])) - waiting
local out = { 0 }
while #out <= room do
  local head = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if #head == 0 then break end
  local batch = head[1]
  local next = redis.call('ZPOPMIN', string.format(ARGV[3], batch))
  if #next == 0 then
    redis.call('ZREM', KEYS[2], batch)
  else
    redis.call('ZADD', KEYS[3], now + tonumber(ARGV[2]), next[1])
    redis.call('ZINCRBY', KEYS[2], 1, batch)
    local priority = tonumber(redis.call('HGET', string.format(ARGV[4], batch), 'priority') or '0')
    redis.call('HSET', KEYS[1], 'share:' .. string.format('%.0f', priority), tonumber(head[2]) + 1 + priority * 1e9)
    out[#out + 1] = next[1]
  end
end
-- Batches whose last submission was just released leave the feed now, so that an idle account has no chain.
local head = redis.call('ZRANGE', KEYS[2], 0, 0)
while #head > 0 and redis.call('ZCARD', string.format(ARGV[3], head[1])) == 0 do
  redis.call('ZREM', KEYS[2], head[1])
  head = redis.call('ZRANGE', KEYS[2], 0, 0)
end
if #head > 0 then
  out[1] = wait > 0 and wait or 1
elseif redis.call('ZCARD', KEYS[3]) > 0 then
  out[1] = tonumber(ARGV[2])
else
  out[1] = -1
end
return out

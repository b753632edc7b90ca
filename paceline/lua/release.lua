--! with clock pace circuit
-- Release the next planned submissions of an account: no more than permits are free, fairly between its batches.
--
-- Batches of higher priority go first; among equals each release costs one unit of a batch's fair share. A batch is sent
-- by one of two classes, see class_of(); where one has no room, the batches of the other are still served. So are others
-- where a batch waits for what its cap leaves.
-- KEYS 1 account hash, 2 feed zset, 3 released zset, 4 and 5 pace log and state (add), 6 and 7 the same (wait)
-- ARGV 1 most released at once, 2 ms after which a release is taken for lost, 3 template of a planned key,
--      4 template of a batch key, 5… pace of add (limit, window ms, durable, host, boot clock ms), 10… pace of wait
-- RETURNS {ms until it is worth coming again, 0 while uploads are behind the permits, or -1 if nothing is left to feed,
--          submission id …}
local now = now_ms()
if redis.call('HEXISTS', KEYS[1], 'paused') == 1 then return { -1 } end

local function share_of(batch)
  local priority = tonumber(redis.call('HGET', string.format(ARGV[4], batch), 'priority') or '0')
  return priority, 'share:' .. string.format('%.0f', priority)
end

local later = {}  -- batch → ms for which a cap keeps it waiting, see begin.lua
local single = {}  -- batch → true while its cap leaves little: one at a time tries

-- The class that a batch is sent by: `wait` where it waits for the end of its runs in the call that starts them. `auto`
-- waits if the whole batch may go at once. The same rule as in steps/submitting.py.
local function class_of(batch)
  local row = redis.call('HMGET', string.format(ARGV[4], batch), 'choice:wait', 'listed', 'total', 'not_before')
  single[batch] = row[4] and true
  later[batch] = row[4] and tonumber(row[4]) > now and tonumber(row[4]) < now + 60000 and tonumber(row[4]) - now
  if not row[1] or row[1] == '' or row[1] == '0' then return 'add' end
  if row[1] ~= 'auto' then return 'wait' end
  return row[2] == '1' and tonumber(row[3] or '0') <= tonumber(ARGV[10]) and 'wait' or 'add'
end

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
    local priority, share = share_of(batch)
    local present = tonumber(redis.call('HGET', KEYS[1], share) or '0')
    redis.call('ZADD', KEYS[2], 'NX', present - priority * 1e9, batch)
  end
end

local classes, room, wait = {}, {}, {}
local function look(class)
  if room[class] then return end
  local at = class == 'wait' and 6 or 4
  local p = pace_args(KEYS[at], KEYS[at + 1], class == 'wait' and 10 or 5)
  local free
  free, wait[class] = pace_free(p, now)
  room[class] = math.min(free, tonumber(ARGV[1]))
  if free > 0 and free < tonumber(ARGV[1]) then
    -- Permits that are free may all be spoken for by what is released. One more is free when the next leaves the log.
    local oldest = redis.call('ZRANGE', p.log, 0, 0, 'WITHSCORES')
    if oldest[2] then wait[class] = math.min(math.max(tonumber(oldest[2]) + p.window - now, 1), 500) end
  end
end
local function class(batch)
  if not classes[batch] then
    classes[batch] = class_of(batch)
    look(classes[batch])
  end
  return classes[batch]
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  local batch = string.match(id, '^(.*)%-')
  local of = class(batch)
  room[of] = room[of] - 1
  if single[batch] then later[batch] = later[batch] or 1000 end
end

local down, trial = circuit_wait(KEYS[1], '', now)
local most = down > 0 and 0 or trial and 1 - redis.call('ZCARD', KEYS[3]) or 1e9
local out = { 0 }
local passed = 0  -- batches at the head whose class has no room now
while #out <= most do
  local head = redis.call('ZRANGE', KEYS[2], passed, passed, 'WITHSCORES')
  if #head == 0 then break end
  local batch = head[1]
  local of = class(batch)
  if room[of] < 1 or later[batch] then
    passed = passed + 1
  else
    local next = redis.call('ZPOPMIN', string.format(ARGV[3], batch))
    if #next == 0 then
      redis.call('ZREM', KEYS[2], batch)
    else
      redis.call('ZADD', KEYS[3], now + tonumber(ARGV[2]), next[1])
      redis.call('ZINCRBY', KEYS[2], 1, batch)
      local priority, share = share_of(batch)
      local present = tonumber(redis.call('HGET', KEYS[1], share) or '0')
      redis.call('HSET', KEYS[1], share, math.max(present, tonumber(head[2]) + 1 + priority * 1e9))
      room[of] = room[of] - 1
      if single[batch] then later[batch] = 1000 end
      out[#out + 1] = next[1]
      passed = 0
    end
  end
end
-- Batches whose last submission was just released leave the feed now, so that an idle account has no chain.
local soonest
for _, batch in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if redis.call('ZCARD', string.format(ARGV[3], batch)) == 0 then
    redis.call('ZREM', KEYS[2], batch)
  else
    local ms = later[batch] or wait[class(batch)]
    if not soonest or ms < soonest then soonest = ms end
  end
end
if soonest then
  out[1] = math.max(down, soonest, trial and 1000 or 0)
elseif redis.call('ZCARD', KEYS[3]) > 0 then
  out[1] = tonumber(ARGV[2])
else
  out[1] = -1
end
return out

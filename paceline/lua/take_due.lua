--! with clock pace
-- Take the runs that are due to be asked after, together with the permit to ask; nobody else gets them meanwhile.
-- KEYS 1 due zset, 2 runs hash, 3 pace log (list), 4 pace state (list), 5 pace log (add), 6 gap string
-- ARGV 1 most runs, 2 slack ms (runs due that soon are taken along: they cost nothing in the same call, unless they
--      have only just started and nothing can be known yet), 3 ms they are put off for,
--      4… pace (limit, window ms, durable, host, boot clock ms)
-- RETURNS {status, ms, in flight, starts in the last 10 s, now ms, id, run, id, run …}
--   'taken': ms is 0; 'wait': no permit for that many ms; 'early': next run is due in ms; 'idle': none, ms is -1
--   run: run id, generation, start (ms) and how late it is (ms since it was due, negative if early) on four lines
local now = now_ms()
local flight = redis.call('ZCARD', KEYS[1])
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local starts = redis.call('ZCOUNT', KEYS[5], now - 10000, '+inf')
local function answer(status, ms) return { status, math.ceil(ms), flight, starts, string.format('%.0f', now) } end
if #head == 0 then return answer('idle', -1) end
local early = tonumber(head[2]) - now
if early > 300000 then  -- nothing is ever put off that long: the clock was set back
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]))) do redis.call('ZADD', KEYS[1], now, id) end
  early = 0
end
if early > 50 then return answer('early', early) end
local permit, wait = pace_take(pace_args(KEYS[3], KEYS[4], 4), now)
if not permit then return answer('wait', wait) end
local out = answer('taken', 0)
local soon = now + tonumber(ARGV[2])
local scored = redis.call('ZRANGE', KEYS[1], '-inf', soon, 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[1]), 'WITHSCORES')
local ids, dues = {}, {}
for i = 1, #scored, 2 do
  ids[#ids + 1] = scored[i]
  dues[#dues + 1] = tonumber(scored[i + 1])
end
local runs = redis.call('HMGET', KEYS[2], unpack(ids))
for i, id in ipairs(ids) do
  local started = runs[i] and tonumber(string.match(runs[i], '(%d+)$'))
  if not started then
    redis.call('ZREM', KEYS[1], id)
  elseif dues[i] <= now + 500 or now - started >= 1000 then
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), id)
    out[#out + 1] = id
    out[#out + 1] = runs[i] .. string.format('\n%.0f', now - dues[i])
  end
end
return out

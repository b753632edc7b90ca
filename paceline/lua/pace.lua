-- Shared by every script that grants permits: a sliding-window log on Redis time.
--
-- The log is a zset of permits by grant time (ms). A permit is granted while fewer than L were granted in the last W,
-- where W is the provider's window plus the permit's life plus a margin: sends happen within [grant, grant + life],
-- so no window at the provider ever sees more than L. A request that was answered had been sent by then: its permit
-- counts as if the answer ended its life, and leaves the window that much earlier (accepted.lua).
--
-- State hash: closed_until (ms), closed_why, strikes, learned (limit), learned_ms, last_ms (newest time seen),
-- seq (member counter), m:MINUTE (permits granted in that minute since the epoch, for monitoring: the last hour),
-- refused (429s, for monitoring), server (run id), clock:HOST (Redis time minus that host's boot clock, ms),
-- suspect:HOST (another such difference, seen once).
-- `p` is a table of {log=, state=, limit=, window=, durable=, host=, mono=}; see pace_args().

local function pace_args(log, state, at)
  return { log = log, state = state, limit = tonumber(ARGV[at]), window = tonumber(ARGV[at + 1]),
           durable = ARGV[at + 2] == '1', host = ARGV[at + 3], mono = tonumber(ARGV[at + 4]) }
end

local function block(p, until_ms, why)
  local closed = tonumber(redis.call('HGET', p.state, 'closed_until') or '0')
  if until_ms > closed then
    redis.call('HSET', p.state, 'closed_until', string.format('%.0f', until_ms), 'closed_why', why)
  end
end

-- Where time or memory can't be trusted, wait one whole window rather than overshoot: a clock that was set back or
-- forward, and a server that came back from a restart without having written everything down.
local function guard(p, now)  -- returns true if nothing may be granted just now
  local s = redis.call('HMGET', p.state, 'last_ms', 'server', 'clock:' .. p.host, 'closed_until')
  local last = tonumber(s[1] or '0')
  local offset = now - (p.mono or 0)
  local back = last - now > 1000
  local jumped = p.host ~= '' and s[3] and math.abs(offset - tonumber(s[3])) > 1000
  if jumped and not back then
    -- A slow way here looks the same, once. Only two calls in a row that agree are a jump; until then, no permit.
    local suspect = redis.call('HGET', p.state, 'suspect:' .. p.host)
    if not suspect or math.abs(offset - tonumber(suspect)) > 500 then
      redis.call('HSET', p.state, 'suspect:' .. p.host, string.format('%.0f', offset))
      redis.call('PEXPIRE', p.state, 86400000)
      return true
    end
  end
  redis.call('HDEL', p.state, 'suspect:' .. p.host)
  if back or jumped then
    local shift = jumped and (offset - tonumber(s[3])) or (now - last)
    if s[4] then redis.call('HSET', p.state, 'closed_until', string.format('%.0f', tonumber(s[4]) + shift)) end
    redis.call('DEL', p.log)
    block(p, now + p.window, 'clock')
  end
  local server, uptime = server_facts()
  if server and s[2] and server ~= s[2] and not p.durable then
    block(p, now - uptime * 1000 + p.window, 'restart')
  end
  if server then redis.call('HSET', p.state, 'server', server) end
  if p.host ~= '' then redis.call('HSET', p.state, 'clock:' .. p.host, string.format('%.0f', offset)) end
  redis.call('HSET', p.state, 'last_ms', string.format('%.0f', now))
  redis.call('PEXPIRE', p.state, 86400000)
end

-- The limit in force: the configured one, or the one learned from refusals, which recovers by a twentieth per window.
local function limit_now(p, now)
  local s = redis.call('HMGET', p.state, 'learned', 'learned_ms')
  if not s[1] then return p.limit end
  local windows = math.floor((now - tonumber(s[2])) / p.window)
  local learned = tonumber(s[1]) + windows * math.max(1, math.floor(p.limit / 20))
  if learned >= p.limit then
    redis.call('HDEL', p.state, 'learned', 'learned_ms')
    return p.limit
  end
  if windows > 0 then
    redis.call('HSET', p.state, 'learned', learned, 'learned_ms',
               string.format('%.0f', tonumber(s[2]) + windows * p.window))
  end
  return learned
end

-- How many permits are free now, and ms until the next one is (0 if one is free).
local function pace_free(p, now)
  if guard(p, now) then return 0, 50 end
  local closed = tonumber(redis.call('HGET', p.state, 'closed_until') or '0')
  if closed > now then return 0, closed - now end
  redis.call('ZREMRANGEBYSCORE', p.log, '-inf', now - p.window)
  local used = redis.call('ZCARD', p.log)
  local limit = limit_now(p, now)
  if used < limit then return limit - used, 0 end
  local oldest = redis.call('ZRANGE', p.log, used - limit, used - limit, 'WITHSCORES')
  return 0, math.max(tonumber(oldest[2]) + p.window - now, 1)
end

-- Count a permit in its minute, and forget the minutes that are not of the last hour.
local function count_minute(p, now)
  local minute = math.floor(now / 60000)
  if redis.call('HINCRBY', p.state, 'm:' .. string.format('%.0f', minute), 1) > 1 then return end
  for _, name in ipairs(redis.call('HKEYS', p.state)) do
    local at = tonumber(string.match(name, '^m:(%d+)$') or minute)
    if at <= minute - 60 or at > minute + 1 then redis.call('HDEL', p.state, name) end
  end
end

-- Take one permit. Returns its name and 0, or nil and ms to wait.
local function pace_take(p, now)
  local free, wait = pace_free(p, now)
  if free < 1 then return nil, wait end
  local name = string.format('%.0f', redis.call('HINCRBY', p.state, 'seq', 1))
  redis.call('ZADD', p.log, now, name)
  redis.call('PEXPIRE', p.log, p.window * 2)
  count_minute(p, now)
  return name, 0
end

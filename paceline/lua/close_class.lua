--! with clock
-- Close an endpoint class of an account for a while, for everybody, and learn from a refusal.
-- KEYS 1 pace log, 2 pace state
-- ARGV 1 ms to stay closed ('' or less than a second = back off by strikes), 2 why, 3 '1' to lower the learned limit, 4 limit, 5 window ms,
--      6 longest back-off in ms
-- RETURNS ms it stays closed
local now = now_ms()
local s = redis.call('HMGET', KEYS[2], 'closed_until', 'strikes', 'struck_ms', 'learned')
local closed = tonumber(s[1] or '0')
local strikes = tonumber(s[2] or '0')
if now - tonumber(s[3] or '0') > tonumber(ARGV[5]) then strikes = 0 end
local fresh = closed <= now
if ARGV[3] == '1' then redis.call('HINCRBY', KEYS[2], 'refused', 1) end
if fresh then strikes = strikes + 1 end
local stay = ARGV[1] ~= '' and tonumber(ARGV[1]) or 0
if stay < 1000 then stay = math.min(1000 * 2 ^ math.max(math.min(strikes - 1, 20), 0), tonumber(ARGV[6])) end
if fresh and ARGV[3] == '1' then
  -- What was granted in this window was evidently too much; a whole burst of refusals teaches once.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[5]))
  local granted = redis.call('ZCARD', KEYS[1])
  local limit = math.min(tonumber(s[4] or ARGV[4]), tonumber(ARGV[4]))
  -- Never below half of what was in force: a refusal early in a window says little about the whole of it.
  local learned = math.max(1, math.floor(limit / 2), math.floor(math.min(limit, granted) * 0.9))
  redis.call('HSET', KEYS[2], 'learned', learned, 'learned_ms', string.format('%.0f', now))
end
redis.call('HSET', KEYS[2], 'strikes', strikes, 'struck_ms', string.format('%.0f', now + stay))
if now + stay > closed then
  redis.call('HSET', KEYS[2], 'closed_until', string.format('%.0f', now + stay), 'closed_why', ARGV[2])
end
redis.call('PEXPIRE', KEYS[2], 86400000)
return math.max(math.ceil(stay), math.ceil(closed - now))

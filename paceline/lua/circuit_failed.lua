--! with clock circuit
-- Record a request that the provider did not answer; enough of them in a row open the circuit, for longer each time.
-- KEYS 1 account hash
-- ARGV 1 why, 2 failures in a row that open it, 3 longest time it stays open (ms), 4 submission that was sent or ''
-- RETURNS ms until the next question, 0 while it stays closed
local now = now_ms()
circuit_tried(KEYS[1], ARGV[4])
local failures = redis.call('HINCRBY', KEYS[1], ARGV[4] == '' and 'down_failures' or 'down_posts', 1)
local c = redis.call('HMGET', KEYS[1], 'down_until', 'down_strikes', 'down_half', 'down_since')
if not c[1] and failures < tonumber(ARGV[2]) then return 0 end
local left = c[1] and tonumber(c[1]) - now or 0
-- What was under way when it opened fails too: that is the same failure. Only a question, or a trial, is a new one.
local fresh = not c[1] or c[3] == '1' or ARGV[4] == ''
if not fresh then return math.max(left, 1) end
local strikes = tonumber(c[2] or '0') + 1
local stay = math.min(1000 * 2 ^ math.min(strikes - 1, 20), tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'down_until', string.format('%.0f', now + stay), 'down_strikes', strikes, 'down_why', ARGV[1])
redis.call('HSETNX', KEYS[1], 'down_since', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'down_half')
return math.ceil(stay)

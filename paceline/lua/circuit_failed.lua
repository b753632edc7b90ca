--! with clock circuit
-- Record a request that the provider did not answer; enough of them in a row open the circuit, for longer each time.
--
-- What was under way when it opened fails too: that is the same failure. Only the one question, or the submission that
-- tries, keeps it open for longer.
-- KEYS 1 account hash
-- ARGV 1 why, 2 failures in a row that open it, 3 longest time it stays open (ms), 4 submission that was sent or '',
--      5 '1' if this was the one question
-- RETURNS ms until the next question, 0 while it stays closed
local now = now_ms()
local tried = ARGV[4] ~= '' and redis.call('HGET', KEYS[1], 'down_trial') == ARGV[4]
circuit_tried(KEYS[1], ARGV[4])
local failures = redis.call('HINCRBY', KEYS[1], ARGV[4] == '' and 'down_failures' or 'down_posts', 1)
local c = redis.call('HMGET', KEYS[1], 'down_until', 'down_strikes')
if not c[1] and failures < tonumber(ARGV[2]) then return 0 end
if c[1] and not tried and ARGV[5] ~= '1' then return math.max(math.ceil(circuit_left(c[1], now)), 1) end
local strikes = tonumber(c[2] or '0') + 1
local stay = math.min(1000 * 2 ^ math.min(strikes - 1, 20), tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'down_until', string.format('%.0f', now + stay), 'down_strikes', strikes, 'down_why', ARGV[1])
redis.call('HSETNX', KEYS[1], 'down_since', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'down_half')
return math.ceil(stay)

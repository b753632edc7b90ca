--! with clock circuit
-- Tell how an account's circuit stands; of an open one whose time has come, let one caller ask the one question.
-- KEYS 1 account hash
-- ARGV 1 ms for which a question is under way at the most, or '' to look only
-- RETURNS {'closed', failures in a row} | {'open', ms to wait} | {'probe'} | {'half'}
local now = now_ms()
local c = redis.call('HMGET', KEYS[1], 'down_until', 'down_half', 'down_failures')
if not c[1] then return { 'closed', tonumber(c[3] or '0') } end
if c[2] == '1' then return { 'half' } end
local left = circuit_left(c[1], now)
if left > 0 then return { 'open', math.ceil(left) } end
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'down_until', string.format('%.0f', now + tonumber(ARGV[1]))) end
return { 'probe' }

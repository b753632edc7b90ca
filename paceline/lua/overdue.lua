--! with clock
-- Name what should have happened by now, and put it off, so that only one rescuer acts on it.
-- KEYS 1 a zset by time (ms)
-- ARGV 1 ms of grace, 2 ms until it counts as overdue again, 3 most
-- RETURNS member …
local now = now_ms()
local late = redis.call('ZRANGE', KEYS[1], '-inf', now - tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[3]))
for _, member in ipairs(late) do redis.call('ZADD', KEYS[1], 'XX', now - tonumber(ARGV[1]) + tonumber(ARGV[2]), member) end
return late

--! with clock
-- Name what should have happened by now, and put it off, so that only one rescuer acts on it.
-- KEYS 1 a zset by time (ms)
-- ARGV 1 ms of grace, 2 ms until it counts as overdue again, 3 most, 4 ms from now beyond which a time can only be
--      from before the clock was set back, '' = none
-- RETURNS member …
local now = now_ms()
local late = redis.call('ZRANGE', KEYS[1], '-inf', now - tonumber(ARGV[1]), 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[3]))
if ARGV[4] ~= '' and #late == 0 then
  late = redis.call('ZRANGE', KEYS[1], now + tonumber(ARGV[4]), '+inf', 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[3]))
end
for _, member in ipairs(late) do redis.call('ZADD', KEYS[1], 'XX', now - tonumber(ARGV[1]) + tonumber(ARGV[2]), member) end
return late

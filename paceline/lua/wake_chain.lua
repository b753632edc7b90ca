--! with clock
-- Make a chain due after some time, or leave it if it is due earlier.
-- KEYS 1 chains zset
-- ARGV 1 chain, 2 ms from now
-- RETURNS ms until a message should come, or -1 for none
local at = now_ms() + tonumber(ARGV[2])
if redis.call('ZADD', KEYS[1], 'LT', 'CH', at, ARGV[1]) == 1 then return math.ceil(tonumber(ARGV[2])) end
return -1

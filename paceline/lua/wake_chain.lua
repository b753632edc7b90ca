--! with clock chains
-- Make a chain due after some time, or leave it if it is due earlier.
-- KEYS 1 chains zset
-- ARGV 1 chain, 2 ms from now
-- RETURNS ms until a message should come, or -1 for none
local now = now_ms()
return math.ceil(wake_chain(KEYS[1], ARGV[1], now + tonumber(ARGV[2]), now))

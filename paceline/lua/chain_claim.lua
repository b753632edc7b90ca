--! with clock
-- Let one of any number of messages carry on a chain.
-- KEYS 1 chains zset
-- ARGV 1 chain, 2 lease ms, 3 ms a message may come too early, 4 worker
-- RETURNS the claim (a time in ms, as text), or '' if the chain isn't due (another message has it, or it is idle)
local now = now_ms()
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) > now + tonumber(ARGV[3]) then return '' end
local claim = string.format('%.0f', now + tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], claim, ARGV[1])
redis.call('HSET', KEYS[1] .. ':holders', ARGV[1], ARGV[4])  -- for free_chains.lua
redis.call('HDEL', KEYS[1] .. ':woken', ARGV[1])  -- this turn sees everything that was there to be woken for
return claim

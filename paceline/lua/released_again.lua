--! with clock chains
-- Let the feed release again what is released and not begun: whoever had its messages may be gone.
--
-- A second message for what another worker still has does no harm: the first to begin wins.
-- KEYS 1 released zset, 2 chains zset
-- ARGV 1 the account's feed chain
-- RETURNS ms until the feed chain wants a message, or -1 for none
local now = now_ms()
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
if #ids == 0 then return -1 end
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], 'XX', now, id) end
return math.ceil(wake_chain(KEYS[2], ARGV[1], now, now))

--! with clock pace
-- Take one permit for a request that needs no intent.
-- KEYS 1 pace log, 2 pace state
-- ARGV 1… pace (limit, window ms, durable, host, boot clock ms)
-- RETURNS {permit, 0} | {'', ms to wait}
local name, wait = pace_take(pace_args(KEYS[1], KEYS[2], 1), now_ms())
return { name or '', wait }

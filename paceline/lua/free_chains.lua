--! with clock
-- End the claims of a worker that is gone: the chains are due now.
-- KEYS 1 chains zset
-- ARGV 1 worker
-- RETURNS chain …
local now = now_ms()
local free = {}
local rows = redis.call('HGETALL', KEYS[1] .. ':holders')
for i = 1, #rows, 2 do
  if rows[i + 1] == ARGV[1] then
    redis.call('HDEL', KEYS[1] .. ':holders', rows[i])
    if redis.call('ZADD', KEYS[1], 'XX', 'CH', now, rows[i]) == 1 then free[#free + 1] = rows[i] end
  end
end
return free

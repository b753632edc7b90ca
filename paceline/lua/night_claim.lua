--! with clock
-- Note what was decided about a due time, once. Whoever decided on an older view of the schedule is refused: it has to
-- look again.
-- KEYS 1 schedule hash, 2 nights zset, 3 night hash
-- ARGV 1 due time (ms), 2 state, 3 reason or '', 4 what is asked (JSON), 5 lease (ms), 6 holder,
--      7 the last due time decided on as the caller knows it (ms); '' for a night that a person starts,
--      8 nights kept, 9 what the keys of nights begin with, 10 error or '', 11 ms after which nights are forgotten
-- RETURNS 1, 2 if a person had started it already, or 0 if it, or others, were decided meanwhile
if ARGV[7] ~= '' then
  if redis.call('HGET', KEYS[1], 'decided_ms') ~= ARGV[7] then return 0 end
  redis.call('HSET', KEYS[1], 'decided_ms', ARGV[1])
end
if redis.call('EXISTS', KEYS[3]) == 1 then return 2 end
local now = now_ms()
redis.call('HSET', KEYS[3], 'state', ARGV[2], 'reason', ARGV[3], 'asked', ARGV[4], 'error', ARGV[10],
  'noted_ms', string.format('%.0f', now))
if ARGV[2] == 'starting' then
  redis.call('HSET', KEYS[3], 'holder', ARGV[6], 'lease_ms', string.format('%.0f', now + tonumber(ARGV[5])), 'tries', 1)
end
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[11])
redis.call('PEXPIRE', KEYS[3], ARGV[11])
local surplus = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[8])
if surplus > 0 then
  -- One that isn't through is never dropped, however old it is.
  for _, due in ipairs(redis.call('ZRANGE', KEYS[2], 0, surplus - 1)) do
    if redis.call('HEXISTS', ARGV[9] .. due, 'settled') == 1 then
      redis.call('ZREM', KEYS[2], due)
      redis.call('DEL', ARGV[9] .. due)
    end
  end
end
return 1

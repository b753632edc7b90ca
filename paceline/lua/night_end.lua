--! with clock
-- Note how starting a night ended, on the word of its holder alone; or that it is to be tried again.
-- KEYS 1 night hash
-- ARGV 1 holder, 2 state ('starting': try again), 3 reason or '', 4 error or '', 5 ms until it may be taken again,
--      6 '1' if the ledger has its batch: else no batch was begun, and what is asked may still change
-- RETURNS 1, or 0 if another one holds it by now
local row = redis.call('HMGET', KEYS[1], 'state', 'holder')
if row[1] ~= 'starting' or row[2] ~= ARGV[1] then return 0 end
local now = now_ms()
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'reason', ARGV[3], 'error', ARGV[4], 'ended_ms', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 'holder')
if ARGV[6] ~= '1' then redis.call('HDEL', KEYS[1], 'batch') end
if ARGV[2] == 'starting' then
  redis.call('HSET', KEYS[1], 'lease_ms', string.format('%.0f', now + tonumber(ARGV[5])))
end
return 1

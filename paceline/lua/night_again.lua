--! with clock
-- Start a night on a person's word that was left out, couldn't be started, or waits. What it comes to is told anew, but
-- for what is past: that it was left out, or late.
-- KEYS 1 night hash
-- ARGV 1 holder, 2 lease (ms), 3 what is asked now (JSON); of a night that was begun, what was asked then stays
-- RETURNS 1, or 0 if it is started already or somebody is about it
local row = redis.call('HMGET', KEYS[1], 'state', 'lease_ms', 'batch', 'tries')
local now = now_ms()
if row[1] == 'started' or (row[1] == 'starting' and tonumber(row[2] or '0') > now) then return 0 end
if not row[3] then redis.call('HSET', KEYS[1], 'asked', ARGV[3]) end
redis.call('HSET', KEYS[1], 'state', 'starting', 'reason', '', 'error', '', 'holder', ARGV[1], 'tries', 1,
  'lease_ms', string.format('%.0f', now + tonumber(ARGV[2])))
redis.call('HDEL', KEYS[1], 'settled')
redis.call('HINCRBY', KEYS[1], 'again', 1)
for _, event in ipairs({ 'not_started', 'failed', 'held', 'succeeded' }) do
  redis.call('HDEL', KEYS[1], 'told:' .. event, 'telling:' .. event)
end
return 1

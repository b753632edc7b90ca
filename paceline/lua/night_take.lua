--! with clock
-- Take a night to start it: one that waits, or whose holder has been silent for longer than its lease.
-- With the name of its holder: keep it for another lease, and note what is known by then.
-- KEYS 1 night hash
-- ARGV 1 holder, 2 lease (ms), 3 '1' to keep what the holder has, 4 the batch that is begun, or ''
-- RETURNS the number of times it was taken, or 0 if it isn't to be had
local row = redis.call('HMGET', KEYS[1], 'state', 'holder', 'lease_ms', 'tries')
local now = now_ms()
local tries = tonumber(row[4] or '0')
if ARGV[3] == '1' then
  if row[1] ~= 'starting' or row[2] ~= ARGV[1] then return 0 end
else
  local free = row[1] == 'waiting' or (row[1] == 'starting' and tonumber(row[3] or '0') <= now)
  if not free then return 0 end
  tries = tries + 1
end
redis.call('HSET', KEYS[1], 'state', 'starting', 'reason', '', 'holder', ARGV[1], 'tries', tries,
  'lease_ms', string.format('%.0f', now + tonumber(ARGV[2])))
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'batch', ARGV[4]) end
return tries

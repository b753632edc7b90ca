--! with clock
-- Take it on to tell of an event, unless it was told, or somebody is about it, or a failed try was too short ago.
-- KEYS 1 night hash
-- ARGV 1 event, 2 ms for which nobody else tells, doubled with each try, 3 the longest of those, 4 most tries
-- RETURNS the number of this try, 0 if nothing is to be done now, -1 if it is told or given up
local row = redis.call('HMGET', KEYS[1], 'told:' .. ARGV[1], 'telling:' .. ARGV[1])
if row[1] then return -1 end
local now = now_ms()
local tries, again = string.match(row[2] or '0 0', '^(%d+) (%d+)$')
tries = tonumber(tries)
if tonumber(again) > now then return 0 end
if tries >= tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[1], 'told:' .. ARGV[1], 'given up')
  return -1
end
local pause = math.min(tonumber(ARGV[2]) * 2 ^ tries, tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'telling:' .. ARGV[1], string.format('%d %.0f', tries + 1, now + pause))
return tries + 1

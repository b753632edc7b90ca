--! with clock chains ledger
-- Record a look at the provider that did not find an uncertain submission; enough looks prove its absence.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 '1' if this look counts as proof, 4 looks needed, 5 ms until the next look,
--      6 least ms between two looks that count
-- RETURNS {'absent', generation, ms until the feed chain wants a message or -1} | {'looked', looks} | {'lost'} | {'unknown'}
local from, why = fence({ 'uncertain' })
if not from then return { why } end
local now = now_ms()
local looks = tonumber(redis.call('HGET', KEYS[1], 'looks') or '0')
local last = tonumber(redis.call('HGET', KEYS[1], 'look_ms') or '0')
if ARGV[3] == '1' and now - last >= tonumber(ARGV[6]) then
  looks = redis.call('HINCRBY', KEYS[1], 'looks', 1)
  redis.call('HSET', KEYS[1], 'look_ms', int(now))
end
if looks < tonumber(ARGV[4]) then
  redis.call('ZADD', KEYS[7], 'XX', now + tonumber(ARGV[5]), ARGV[1])
  return { 'looked', looks }
end
redis.call('HDEL', KEYS[1], 'looks', 'look_ms', 'doubt_ms')
local generation = to_planned(from, 'absent', { 'looks', looks })
return { 'absent', generation, wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now, now) }

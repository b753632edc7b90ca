--! with clock chains circuit ledger
-- Record a look at the provider that did not find an uncertain submission; enough looks prove its absence.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 '1' if this look counts as proof, 4 looks needed, 5 ms until the next look,
--      6 least ms between two looks that count, 7 ms after which a request begun now has surely ended,
--      8 '1' if the server syncs every write
-- RETURNS {'absent', generation, ms until the feed chain wants a message or -1} | {'looked', looks} | {'lost'} | {'unknown'}
local from, why = fence({ 'uncertain' })
if not from then return { why } end
local now = now_ms()
local server = string.sub(server_facts() or '', 1, 12)
if ARGV[8] ~= '1' and server ~= '' and server ~= redis.call('HGET', KEYS[1], 'server') then
  -- Another server's doubt: a newer request than the one it knew may be under way. Settling starts anew.
  known_here()
  local generation = tonumber(redis.call('HGET', KEYS[1], 'generation'))
  doubt(from, now, now + tonumber(ARGV[7]), generation + 1000, 'ledger_restarted')
  return { 'looked', 0 }
end
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
known_here()
local generation = to_planned(from, 'absent', { 'looks', looks })
return { 'absent', generation, wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now, now) }

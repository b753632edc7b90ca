--! with clock chains circuit ledger
-- Register one submission, once, in the way's KEYS order. Those of the manifest come in the order of their indexes.
-- KEYS the way, 17 files string, 18 halves zset
-- ARGV 1 submission id, 2 '', 3 number of files, 4 bytes, 5 files (compressed), 6 manifest offset after it,
--      7 skipped files up to there, 8 first state ('planned', or 'uncertain' where an earlier life may have sent it),
--      9 ms from now for which that earlier life may still be sending it
-- RETURNS {1 if new, 0 if not, -1 if the ledger has no such batch;
--          ms until the chain that goes on from there (feed or reconcile) wants a message or -1, generation}, or an error
--          where one before it isn't registered
local of = redis.call('HMGET', KEYS[2], 'account', 'total', 'extra')
if not of[1] then return { -1, -1, 0 } end
if redis.call('EXISTS', KEYS[1]) == 1 then return { 0, -1, 0 } end
local batch = string.match(ARGV[1], '^(.*)%-')
local index = index_of(ARGV[1])
-- Of several in one round trip a server may refuse one and take the next, say where memory runs out. Planning goes on
-- behind as many as there are, so no gap may be left.
if index < 1e9 and index > tonumber(of[2] or '0') - tonumber(of[3] or '0') + 1 then
  return redis.error_reply('ERR ' .. ARGV[1] .. ' is not the next one of its batch')
end
local now = now_ms()
-- In an earlier life it had generations, which late verdicts still name: begin above all of them.
local generation = ARGV[8] == 'uncertain' and math.floor(now / 1000) or 1
redis.call('HSET', KEYS[1], 'state', ARGV[8], 'generation', int(generation), 'attempt', 0, 'files', ARGV[3], 'bytes', ARGV[4],
           'planned_ms', int(now))
redis.call('SET', KEYS[17], ARGV[5])
redis.call('HINCRBY', KEYS[2], 'n:' .. ARGV[8], 1)
redis.call('HINCRBY', KEYS[2], 'total', 1)
if not count_half(KEYS[18]) then  -- a half's files were counted with the whole
  redis.call('HINCRBY', KEYS[2], 'files', ARGV[3])
  redis.call('HINCRBY', KEYS[2], 'bytes', ARGV[4])
end
redis.call('HSET', KEYS[2], 'manifest_bytes', ARGV[6], 'files_skipped', ARGV[7])
note('plan', '', ARGV[8], generation)
-- The life of Redis under which its batch was opened: if another one has taken over since, this very submission may have
-- been planned, and sent, in what was lost. begin.lua asks first then.
local life = redis.call('HGET', KEYS[2], 'server')
if life then redis.call('HSET', KEYS[1], 'server', life, 'origin', life) else known_here() end
if ARGV[8] == 'uncertain' then
  redis.call('HSET', KEYS[1], 'doubt_ms', int(now + tonumber(ARGV[9])), 'reborn', 1)
  redis.call('ZADD', KEYS[7], now, ARGV[1])
  local agent = redis.call('HMGET', KEYS[2], 'account', 'agent')
  return { 1, wake('reconcile:' .. agent[1] .. ':' .. agent[2], now, now), int(generation) }
end
redis.call('ZADD', KEYS[4], index, ARGV[1])
feedable(batch)
return { 1, wake('feed:' .. redis.call('HGET', KEYS[2], 'account'), now, now), int(generation) }

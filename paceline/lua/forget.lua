-- Take a complete batch out of the ledger, at once: from here on nothing of it moves, and it can't be begun anew.
-- What is left of it is removed afterwards, see remove.lua.
-- KEYS 1 batch hash, 2 batches zset, 3 removing hash, 4 forgotten hash
-- ARGV 1 batch id, 2 what stays known of it (JSON), 3 when it was finished (ms), as far as the caller knows
-- RETURNS 1, or 0 if it isn't complete, or was completed anew
local row = redis.call('HMGET', KEYS[1], 'closed', 'total', 'n:exported', 'finished_ms', 'rebuilding')
local total = row[2] or '0'
if row[1] ~= '1' or row[5] or total ~= (row[3] or '0') or row[4] ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[3], ARGV[1], total)
redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1

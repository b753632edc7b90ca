--! with clock chains circuit ledger
-- Put a submission back and pause its account, or its batch: nothing can work until a person acts.
-- KEYS the way
-- ARGV 1 id, 2 generation, 3 reason, 4 message for people, 5 'account' or 'batch', 6 token of the request this is about, or ''
-- RETURNS {'ok', generation} | {'lost'} | {'unknown'}
local from, why = fence({ 'submitting', 'planned' })
if not from or not about(ARGV[6]) then return { why or 'lost' } end
local target = ARGV[5] == 'batch' and KEYS[2] or KEYS[14]
if redis.call('HSETNX', target, 'paused', ARGV[3]) == 1 then
  redis.call('HSET', target, 'paused_message', ARGV[4], 'paused_ms', int(now_ms()))
end
if ARGV[5] == 'batch' then redis.call('ZREM', KEYS[13], (string.match(ARGV[1], '^(.*)%-'))) end
if from == 'submitting' then redis.call('HINCRBY', KEYS[1], 'attempt', -1) end
redis.call('HDEL', KEYS[1], 'permit')
return { 'ok', to_planned(from, 'pause', { 'reason', ARGV[3] }) }

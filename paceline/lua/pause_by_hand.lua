--! with clock
-- Pause an account, or a batch, because a person says so. What is under way goes on; nothing more is begun.
-- KEYS 1 hash of the account or batch, 2 feed zset of the account
-- ARGV 1 batch to feed no more or '', 2 reason, 3 message for people, 4 who says so
-- RETURNS 1 if it is paused by this, 0 if it was paused before (and is unchanged)
if redis.call('HSETNX', KEYS[1], 'paused', ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'paused_message', ARGV[3], 'paused_ms', string.format('%.0f', now_ms()), 'paused_by', ARGV[4])
if ARGV[1] ~= '' then redis.call('ZREM', KEYS[2], ARGV[1]) end
return 1

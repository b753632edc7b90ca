-- Remove some keys of a batch that was forgotten, unless somebody else has removed all of them: then the batch may have
-- been registered anew, and the keys be its new ones.
-- KEYS 1 removing hash, 2… what to remove
-- ARGV 1 batch id, 2 '1' if nothing is left then
-- RETURNS 1, or 0 if nothing was left before
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
if ARGV[2] == '1' then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1

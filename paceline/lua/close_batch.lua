-- Record that a batch's final output is committed.
-- KEYS 1 batch hash
-- ARGV none
-- RETURNS 1, or 0 if it was closed before or something is not exported after all
local row = redis.call('HMGET', KEYS[1], 'closed', 'total', 'n:exported')
if row[1] == '1' or (row[2] or '0') ~= (row[3] or '0') then return 0 end
redis.call('HSET', KEYS[1], 'closed', 1)
redis.call('HDEL', KEYS[1], 'closing')
return 1

-- Note something about a night that is still kept, and still as the caller saw it.
-- KEYS 1 night hash
-- ARGV 1 state that it was seen in, or '' for any, 2 field, 3 value
-- RETURNS 1, or 0 if it is gone or has moved on
local state = redis.call('HGET', KEYS[1], 'state')
if not state or (ARGV[1] ~= '' and state ~= ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1

-- Note how a night ended, and that nothing more is to be told of it; unless a person has started it again meanwhile.
-- KEYS 1 night hash
-- ARGV 1 how it ended, 2 its state as the caller knows it
-- RETURNS 1, or 0 if it is in another state by now
if redis.call('HGET', KEYS[1], 'state') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'settled', ARGV[1])
return 1

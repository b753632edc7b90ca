-- Note that files, contents or groups were answered; see paceline/known.py. Noting again changes nothing.
-- KEYS 1 scopes hash, then for each mark: its set
-- ARGV 1 scope, 2 what the scope is for (JSON), then for each mark: its member
-- RETURNS 1
for i = 2, #KEYS do redis.call('SADD', KEYS[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1

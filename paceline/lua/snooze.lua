-- Put runs off to their next due time. A submission that is no longer running is left alone.
-- KEYS 1 due zset, 2 gap string
-- ARGV 1 no list call before (ms), then time (ms), submission id …
-- RETURNS earliest due time of all (ms), or -1
redis.call('SET', KEYS[2], ARGV[1], 'PX', 60000)
for i = 2, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'XX', ARGV[i], ARGV[i + 1]) end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return head[2] and string.format('%.0f', head[2]) or '-1'

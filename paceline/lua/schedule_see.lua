--! with clock
-- Look at a schedule before something is decided about it. One that is new, or whose times have changed, begins now:
-- no due time before this moment is ever looked at.
-- KEYS 1 schedule hash
-- ARGV 1 its cron and zone, 2 ms after which a schedule that nobody looks at is forgotten
-- RETURNS {now (ms), last due time decided on (ms), '1' if it is paused else '', the cron and zone it had until now or ''}
local now = string.format('%.0f', now_ms())
local times = redis.call('HGET', KEYS[1], 'times') or ''
if times ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'times', ARGV[1], 'decided_ms', now)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local row = redis.call('HMGET', KEYS[1], 'decided_ms', 'paused_ms')
return { now, row[1], row[2] and '1' or '', times ~= ARGV[1] and times or '' }

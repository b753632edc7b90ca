--! with clock chains
-- Make running submissions due to be asked after now, because somebody says that their runs have probably ended.
--
-- No state is taken from a hint, and a run that isn't in flight under that id is passed over. A hint that counted
-- silences further ones about the same run for a while, so that whatever is delivered twice costs no second question.
-- The gap alone doesn't space the questions: a turn that is under way sets it when it ends, after the hint.
-- KEYS 1 due zset, 2 runs hash, 3 gap string, 4 hinted zset, 5 chains zset
-- ARGV 1 chain, 2 ms for which further hints about a run change nothing, 3 ms after its start before which no run is
--      asked after, 4 most runs that a bare hint is about, 5… submission, run id …
--      none: a bare hint, that something has happened; it is about the runs that are due next, with a silence of its own
-- RETURNS {runs in flight it is about, runs that are due earlier now, ms until the poll chain wants a message or -1}
local now = now_ms()
local bare = #ARGV == 5
local wanted = {}
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[4], now + 10000, '+inf')  -- the clock was set back
local function note(member, at)
  redis.call('ZADD', KEYS[4], at, member)
  redis.call('PEXPIRE', KEYS[4], 60000)
end
if bare then
  if redis.call('ZSCORE', KEYS[4], '*') then return { 0, 0, -1 } end
  note('*', now)
  wanted = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[4]) - 1)
else
  for i = 6, #ARGV, 2 do wanted[#wanted + 1] = ARGV[i] end
end
local about, earlier, first = 0, 0, nil
for i, id in ipairs(wanted) do
  local run, started = string.match(redis.call('HGET', KEYS[2], id) or '', '^([^\n]*)\n%d+\n(%d+)$')
  if run and (bare or run == ARGV[5 + 2 * i]) then
    about = about + 1
    local due = math.max(now, tonumber(started) + tonumber(ARGV[3]))
    if not redis.call('ZSCORE', KEYS[4], id) and redis.call('ZADD', KEYS[1], 'XX', 'LT', 'CH', due, id) == 1 then
      note(id, now)
      earlier = earlier + 1
      if not first or due < first then first = due end
    end
  end
end
if not first then return { about, 0, -1 } end
local gap = tonumber(redis.call('GET', KEYS[3]) or '0')
local last = tonumber(redis.call('ZSCORE', KEYS[4], '!') or '0')
local at = math.max(first, gap, last + tonumber(ARGV[5]))
note('!', at)
return { about, earlier, math.ceil(wake_chain(KEYS[5], ARGV[1], at, now)) }

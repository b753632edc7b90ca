-- Count a piece of a batch's journal by what happened and by when; see paceline/report/timeline.py.
-- KEYS 1 journal stream
-- ARGV 1 id to begin with, as XRANGE takes it   2 how many entries to read   3 begin of the first interval (ms)
--      4 interval (ms)
-- RETURNS id of the last entry read ('' if there is none), then in turn: interval (from 0, may be negative), word, number.
--   Words: a verb; finish:OUTCOME and reject:OUTCOME for those; put_back:REASON.
local rows = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
local first, wide, counts = tonumber(ARGV[3]), tonumber(ARGV[4]), {}
for _, row in ipairs(rows) do
  local entry, fact = row[2], nil
  local verb = entry[4]
  if verb ~= 'plan' and verb ~= 'exported' then
    for at = 13, #entry, 2 do
      if entry[at] == 'outcome' or (verb == 'put_back' and entry[at] == 'reason') then fact = entry[at + 1] end
    end
    local place = math.floor((tonumber(string.match(row[1], '^%d+')) - first) / wide)
    local word = place .. ' ' .. verb .. (fact and ':' .. fact or '')
    counts[word] = (counts[word] or 0) + 1
  end
end
local found = { #rows > 0 and rows[#rows][1] or '' }
for word, number in pairs(counts) do
  local place, what = string.match(word, '^(%S+) (.*)$')
  found[#found + 1] = tonumber(place)
  found[#found + 1] = what
  found[#found + 1] = number
end
return found

-- Tell which marks are there; see paceline/known.py.
-- KEYS for each mark: its set
-- ARGV for each mark: its member
-- RETURNS a text with '1' for each that is there and '0' for each that isn't, in order
local found = {}
for i = 1, #KEYS do found[i] = redis.call('SISMEMBER', KEYS[i], ARGV[i]) end
return table.concat(found)

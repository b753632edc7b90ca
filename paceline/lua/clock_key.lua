-- The clock of simulations: milliseconds from a key, so that a test moves time by hand.
local function now_ms()
  return tonumber(redis.call('GET', 'pl:test:clock') or '0')
end

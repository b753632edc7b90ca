-- The clock of simulations: milliseconds from a key, so that a test moves time by hand.
local function now_ms()
  return tonumber(redis.call('GET', 'pl:test:clock') or '0')
end

-- The server of simulations: a name from a key, so that a test can say that another one has taken over.
local function server_facts()
  return redis.call('GET', 'pl:test:server') or 'first', 0
end

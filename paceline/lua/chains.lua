-- Shared by every script that wakes a chain.
--
-- A chain's due time stands in the chains zset. While a turn is under way, the score is the end of its claim; a wake-up
-- for a later time than that would change nothing there, so it is also left in the hash beside it (CHAINS:woken),
-- which the turn looks at when it ends: no wake-up is lost to a turn that had already looked.

-- Make a chain due at `at` ms, or earlier if it already is. Returns ms from now if a message has to be sent, else -1.
local function wake_chain(chains, chain, at, now)
  local woken = chains .. ':woken'
  local noted = redis.call('HGET', woken, chain)
  if not noted or at < tonumber(noted) then redis.call('HSET', woken, chain, string.format('%.0f', at)) end
  if redis.call('ZADD', chains, 'LT', 'CH', at, chain) == 1 then return math.max(at - now, 0) end
  return -1
end

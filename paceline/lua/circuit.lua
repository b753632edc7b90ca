-- Shared by every script that asks whether an account's provider is down: a circuit per account, in the account hash.
--
-- Fields, all missing while all is well: down_failures and down_posts (in a row, reading and sending), down_since (ms), down_until (ms: nothing is sent
-- before; missing: the circuit is closed), down_strikes, down_why, down_half ('1': it answers again, and one submission
-- tries), down_trial (the submission that tries), down_trial_until (ms: after that, another one may).
--
-- Closed: everything goes. Open: nothing goes until down_until; then whoever comes first asks one reading question. Once
-- that is answered it is half open: reading goes on, and one submission at a time is sent. Its acceptance closes the
-- circuit, and so does every answer of a provider that is there, a refusal too.

-- Ms until an open circuit's time has come. Nothing is ever closed for ten minutes, unless the clock was set back.
local function circuit_left(until_ms, now)
  local left = tonumber(until_ms) - now
  return left > 600000 and 0 or math.max(left, 0)
end

-- Ms that a new request has to wait, and whether it may go as a trial. `id`: the submission that wants to be sent.
local function circuit_wait(account, id, now)
  local c = redis.call('HMGET', account, 'down_until', 'down_half', 'down_trial', 'down_trial_until')
  if not c[1] then return 0, false end
  local left = circuit_left(c[1], now)
  if left > 0 then return left, false end
  if c[2] ~= '1' then return 500, false end
  if c[3] and c[3] ~= id and tonumber(c[4]) > now and tonumber(c[4]) < now + 86400000 then return 1000, false end
  return 0, true
end

-- Let a submission try; after a minute without a word another one may, for its worker may be gone.
local function circuit_try(account, id, now)
  redis.call('HSET', account, 'down_trial', id, 'down_trial_until', string.format('%.0f', now + 60000))
end

-- The trial is over without a word about the provider: another submission may try.
local function circuit_tried(account, id)
  if redis.call('HGET', account, 'down_trial') == id then redis.call('HDEL', account, 'down_trial', 'down_trial_until') end
end

-- The provider is there. Tells whether its circuit wasn't closed.
local function circuit_close(account)
  local was = redis.call('HEXISTS', account, 'down_until') == 1
  redis.call('HDEL', account, 'down_failures', 'down_posts', 'down_since', 'down_until', 'down_strikes', 'down_why', 'down_half',
    'down_trial', 'down_trial_until')
  return was
end

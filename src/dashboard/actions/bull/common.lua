-- What the actions on a queue of Bull have in common. KEYS[1] is the queue's hash `meta`, which only a queue
-- that was paused has; who listens to the queue is told by messages.
local own = KEYS[1]:sub(1, -5)

local refused = refusal({
  hash = { KEYS[1] },
  list = { own .. 'wait', own .. 'paused', own .. 'active' },
  zset = { own .. 'delayed', own .. 'completed', own .. 'failed', own .. 'priority' },
  string = { own .. 'id', own .. 'meta-paused' },
})
if refused then return refused end

local function is_whole(id)
  return is_sound(id, { hash = { own .. id } })
end

-- A job waits here. While the queue is paused that is a list that no worker looks at.
local function waiting_list()
  return own .. (call('EXISTS', own .. 'meta-paused') == 1 and 'paused' or 'wait')
end

-- Behind its channel's name stands who has done it.
local function tell_waiting(id)
  call('PUBLISH', own .. 'waiting@toril', id)
end

local function delete(id)
  local name = call('HGET', own .. id, 'deid')
  if name then call('DEL', own .. 'de:' .. name) end
  call('ZREM', own .. 'priority', id)
  call('DEL', own .. id, own .. id .. ':logs')
end


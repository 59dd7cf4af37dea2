-- What the actions on a queue of BullMQ have in common. KEYS[1] is the queue's hash `meta`, ARGV[1] the version
-- of its library, by which its keys differ.
local own, era = KEYS[1]:sub(1, -5), tonumber(ARGV[1])

-- The keys of a queue, by the types that they are to have.
local function keys_of(queue)
  return {
    hash = { queue .. 'meta' },
    list = { queue .. 'wait', queue .. 'paused', queue .. 'active' },
    zset = { queue .. 'prioritized', queue .. 'delayed', queue .. 'completed', queue .. 'failed',
      queue .. 'waiting-children', queue .. 'repeat', queue .. 'marker' },
    stream = { queue .. 'events' },
    string = { queue .. 'id', queue .. 'pc' },
  }
end

local refused = refusal(keys_of(own))
if refused then return refused end

local function queue_of(key)
  return key:sub(1, #key:match('^.*:'))
end

-- A sentence on one of the keys of a job that is of another type, of its parent and of the queue that this is in, and so on upwards.
local function odd_job(queue, key, seen)
  seen[key] = true
  local found = other_type({
    hash = { key, key .. ':processed', key .. ':failed' },
    set = { key .. ':dependencies' },
    zset = { key .. ':unsuccessful' },
  })
  if found then return found end
  local of_job = call('HMGET', key, 'parentKey', 'deid')
  local parent = of_job[1] or ''
  found = of_job[2] and other_type({ string = { queue .. 'de:' .. of_job[2] } })
  if found or parent == '' or seen[parent] or not parent:find(':', 1, true) then return found end
  local above = queue_of(parent)
  return above ~= queue and other_type(keys_of(above)) or odd_job(above, parent, seen)
end

-- Whether a job can be changed.
local function is_whole(id)
  local found = odd_job(own, own .. id, {})
  return not found or note(id, 'odd', found)
end

-- Whether no job is given out: the queue is paused, or as many run as may. And whether it is paused.
local function is_held(queue)
  local meta = call('HMGET', queue .. 'meta', 'paused', 'concurrency')
  if meta[1] then return true, true end
  local most = tonumber(meta[2])
  return most ~= nil and call('LLEN', queue .. 'active') >= most, false
end

local function tell(queue, ...)
  local most = call('HGET', queue .. 'meta', 'opts.maxLenEvents') or 10000
  call('XADD', queue .. 'events', 'MAXLEN', '~', most, '*', 'event', ...)
end

-- Workers from version 5 on wait for the marker. Those before wait for `wait` itself.
local function wake(queue)
  if era >= 5 and not is_held(queue) then call('ZADD', queue .. 'marker', 0, '0') end
end

local function wake_if_any(queue)
  if call('LLEN', queue .. 'wait') + call('ZCARD', queue .. 'prioritized') > 0 then wake(queue) end
end

-- Tells workers when the first delayed job is due.
local function wake_when_due(queue)
  local first = tonumber(call('ZRANGE', queue .. 'delayed', 0, 0, 'WITHSCORES')[2])
  if not first then return end
  if era >= 5 then
    call('ZADD', queue .. 'marker', first / 4096, '1')
  elseif call('LLEN', queue .. 'wait') == 0 then
    call('LPUSH', queue .. 'wait', string.format('0:%.0f', math.floor(first / 4096)))
  end
end

-- Where a job without a priority waits: before version 6 a paused queue has a list of its own.
local function waiting_list(queue, is_paused)
  return queue .. ((is_paused and era < 6) and 'paused' or 'wait')
end

-- Puts a job where workers look for it, behind all others, or before them if it is to be next.
local function enqueue(id, is_next)
  local _, is_paused = is_held(own)
  local wait = waiting_list(own, is_paused)
  local is_old = era == 4 and not is_paused
  if is_old and (call('LINDEX', wait, 0) or ''):sub(1, 2) == '0:' then call('LPOP', wait) end
  local priority = tonumber(call('HGET', own .. id, 'priority') or 0) or 0
  if priority > 0 then
    local count = call('INCR', own .. 'pc') % 4294967296
    call('ZADD', own .. 'prioritized', priority * 4294967296 + count, id)
    if is_old and call('LLEN', wait) == 0 then call('LPUSH', wait, '0:0') end
  else
    call(is_next and 'RPUSH' or 'LPUSH', wait, id)
  end
  wake(own)
end

-- The score of a job that is due at a moment: behind those of the same millisecond.
local function score_of(due)
  local low, high = due * 4096, due * 4096 + 4095
  local last = call('ZREVRANGEBYSCORE', own .. 'delayed', high, low, 'WITHSCORES', 'LIMIT', 0, 1)
  return last[2] and math.min(tonumber(last[2]) + 1, high) or low
end

-- A job that a scheduler has put there for its next run: without it the scheduler would stand still.
local function is_next_run(queue, id)
  local scheduler = call('HGET', queue .. id, 'rjk')
  local due = scheduler and call('ZSCORE', queue .. 'repeat', scheduler)
  return due and id == 'repeat:' .. scheduler .. ':' .. due
end

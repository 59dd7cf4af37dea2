-- One with a priority goes before those that come later by it.
local function push(list, id, is_next)
  local priority = tonumber(call('HGET', own .. id, 'priority') or 0) or 0
  if priority == 0 then return call(is_next and 'RPUSH' or 'LPUSH', list, id) end
  call('ZADD', own .. 'priority', priority, id)
  local before = call('ZCOUNT', own .. 'priority', 0, priority) - 1
  local next = call('LINDEX', list, call('LLEN', list) - before)
  if next then return call('LINSERT', list, 'BEFORE', next, id) end
  call('RPUSH', list, id)
end

-- Puts a job where workers look for it, behind all others, or before them if it is to be next.
local function enqueue(id, is_next)
  push(waiting_list(), id, is_next)
  tell_waiting(id)
end


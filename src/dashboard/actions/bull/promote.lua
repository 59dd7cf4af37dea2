-- Lets delayed jobs run now. One with a priority goes before those that come later by it.
local function enqueue(id)
  local list = waiting_list()
  local priority = tonumber(call('HGET', own .. id, 'priority') or 0) or 0
  if priority == 0 then return call('LPUSH', list, id) end
  call('ZADD', own .. 'priority', priority, id)
  local before = call('ZCOUNT', own .. 'priority', 0, priority) - 1
  local next = call('LINDEX', list, call('LLEN', list) - before)
  if next then return call('LINSERT', list, 'BEFORE', next, id) end
  call('RPUSH', list, id)
end

return to_all(function(id)
  if call('ZREM', state, id) == 0 then return note(id, 'elsewhere') end
  enqueue(id)
  tell_waiting(id)
  call('HSET', own .. id, 'delay', 0)
  return true
end)

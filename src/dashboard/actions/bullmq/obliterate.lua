
-- Removes a queue with all that belongs to it. Where jobs run, only if ARGV[4] says so.
local PIECE = 250
local running = call('LLEN', own .. 'active')
if running > 0 and ARGV[4] ~= '1' then
  note('', 'running', running)
  return report(0)
end
call('HSET', own .. 'meta', 'paused', 1)
local done, left = 0, 0
local lists = { active = true, wait = true, paused = true }
local names = { 'active', 'wait', 'paused', 'prioritized', 'delayed', 'completed', 'failed', 'waiting-children' }
for _, name in ipairs(names) do
  local key, most = own .. name, PIECE - done
  if most > 0 then
    local ids = lists[name] and call('LRANGE', key, -most, -1) or call('ZRANGE', key, 0, most - 1)
    for _, id in ipairs(ids) do
      drop(id)
      call('DEL', own .. id .. ':lock')
      call(lists[name] and 'LREM' or 'ZREM', key, unpack(lists[name] and { -1, id } or { id }))
      done = done + 1
    end
  end
  left = left + (lists[name] and call('LLEN', key) or call('ZCARD', key))
end
if left == 0 then
  for _, id in ipairs(call('ZRANGE', own .. 'repeat', 0, -1)) do call('DEL', own .. 'repeat:' .. id) end
  for _, name in ipairs({ 'repeat', 'events', 'delay', 'stalled-check', 'stalled', 'id', 'pc', 'marker', 'meta',
    'limiter', 'metrics:completed', 'metrics:completed:data', 'metrics:failed', 'metrics:failed:data' }) do
    call('DEL', own .. name)
  end
end
return report(done, 0, left)

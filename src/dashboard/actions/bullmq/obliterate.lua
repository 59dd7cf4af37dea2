-- Removes a queue with all that belongs to it. Where jobs run, only if ARGV[4] says so.
if is_refused() then return report(0) end
call('HSET', own .. 'meta', 'paused', 1)
local names = { 'active', 'wait', 'paused', 'prioritized', 'delayed', 'completed', 'failed', 'waiting-children' }
local done, left = empty(names, drop)
if left == 0 then
  for _, id in ipairs(call('ZRANGE', own .. 'repeat', 0, -1)) do call('DEL', own .. 'repeat:' .. id) end
  for _, name in ipairs({ 'repeat', 'events', 'delay', 'stalled-check', 'stalled', 'id', 'pc', 'marker', 'meta',
    'limiter', 'metrics:completed', 'metrics:completed:data', 'metrics:failed', 'metrics:failed:data' }) do
    call('DEL', own .. name)
  end
end
return report(done, 0, left)

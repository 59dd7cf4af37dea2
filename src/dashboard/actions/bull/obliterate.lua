-- Removes a queue with all that belongs to it. Where jobs run, only if ARGV[4] says so.
if is_refused() then return report(0) end
call('SET', own .. 'meta-paused', 1)
local names = { 'active', 'wait', 'paused', 'delayed', 'completed', 'failed' }
local done, left = empty(names, delete)
if left == 0 then
  for _, name in ipairs({ 'priority', 'stalled-check', 'stalled', 'meta-paused', 'meta', 'id', 'repeat', 'limiter',
    'limiter:index', 'metrics:completed', 'metrics:completed:data', 'metrics:failed', 'metrics:failed:data' }) do
    call('DEL', own .. name)
  end
end
return report(done, 0, left)

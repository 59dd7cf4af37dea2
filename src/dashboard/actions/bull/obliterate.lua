-- Removes a queue with all that belongs to it. Where jobs run, only if ARGV[4] says so.
local PIECE = 250
local running = call('LLEN', own .. 'active')
if running > 0 and ARGV[4] ~= '1' then
  note('', 'running', running)
  return report(0)
end
call('SET', own .. 'meta-paused', 1)
local done, left = 0, 0
for _, name in ipairs({ 'active', 'wait', 'paused', 'delayed', 'completed', 'failed' }) do
  local key, most = own .. name, PIECE - done
  local is_list = call('TYPE', key).ok == 'list'
  local ids = {}
  if most > 0 then
    ids = is_list and call('LRANGE', key, -most, -1) or call('ZRANGE', key, 0, most - 1)
  end
  for _, id in ipairs(ids) do
    delete(id)
    call('DEL', own .. id .. ':lock')
    call(is_list and 'LREM' or 'ZREM', key, unpack(is_list and { -1, id } or { id }))
    done = done + 1
  end
  left = left + (is_list and call('LLEN', key) or call('ZCARD', key))
end
if left == 0 then
  for _, name in ipairs({ 'priority', 'stalled-check', 'stalled', 'meta-paused', 'meta', 'id', 'repeat', 'limiter',
    'limiter:index', 'metrics:completed', 'metrics:completed:data', 'metrics:failed', 'metrics:failed:data' }) do
    call('DEL', own .. name)
  end
end
return report(done, 0, left)


-- Removes a scheduler and its next run. One that waits for a worker already, or runs, stays.
local id = ARGV[4]
local due = call('ZSCORE', own .. 'repeat', id)
if not due then
  note(id, 'no-scheduler')
  return report(0)
end
local run = 'repeat:' .. id .. ':' .. due
if call('ZREM', own .. 'delayed', run) == 1 then
  delete(own .. run)
  tell(own, 'removed', 'jobId', run, 'prev', 'delayed')
end
call('ZREM', own .. 'repeat', id)
call('DEL', own .. 'repeat:' .. id)
return report(1)

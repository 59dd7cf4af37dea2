
-- Lets a scheduler's next run begin now. The scheduler goes on with the run behind it.
local id = ARGV[4]
local due = call('ZSCORE', own .. 'repeat', id)
local run = due and 'repeat:' .. id .. ':' .. due
if not due then
  note(id, 'no-scheduler')
  return report(0)
end
if not is_whole(run) then return report(0) end
if call('ZREM', own .. 'delayed', run) == 0 then
  note(id, 'elsewhere')
  return report(0)
end
enqueue(run)
tell(own, 'waiting', 'jobId', run, 'prev', 'delayed')
call('HSET', own .. run, 'delay', 0)
return report(1)

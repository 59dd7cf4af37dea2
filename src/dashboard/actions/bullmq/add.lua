
-- Adds a job: ARGV[4] is its id or empty, then its name, data and options, the delay, the priority, and
-- whether it is to be next.
local id, name, data, opts = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local delay, priority, is_next = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
call('HSETNX', own .. 'meta', 'opts.maxLenEvents', 10000)
local count = call('INCR', own .. 'id')
if id == '' then
  id = string.format('%.0f', count)
elseif call('EXISTS', own .. id) == 1 then
  tell(own, 'duplicated', 'jobId', id)
  note(id, 'there')
  return report(0)
end
call('HSET', own .. id, 'name', name, 'data', data, 'opts', opts, 'timestamp', ARGV[3], 'delay', delay,
  'priority', priority)
tell(own, 'added', 'jobId', id, 'name', name)
if delay > 0 then
  call('ZADD', own .. 'delayed', score_of(now + delay), id)
  tell(own, 'delayed', 'jobId', id, 'delay', now + delay)
  wake_when_due(own)
else
  enqueue(id, is_next)
  tell(own, 'waiting', 'jobId', id)
end
note(id, 'added')
return report(1)

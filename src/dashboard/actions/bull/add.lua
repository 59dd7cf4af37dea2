-- Adds a job: ARGV[4] is its id or empty, then its name, data and options, the delay, the priority, and
-- whether it is to be next.
local id, delay = ARGV[4], tonumber(ARGV[8])
local count = call('INCR', own .. 'id')
if id == '' then
  id = string.format('%.0f', count)
elseif call('EXISTS', own .. id) == 1 then
  call('PUBLISH', own .. 'duplicated@toril', id)
  note(id, 'there')
  return report(0)
end
call('HSET', own .. id, 'name', ARGV[5], 'data', ARGV[6], 'opts', ARGV[7], 'timestamp', ARGV[3], 'delay', delay,
  'priority', ARGV[9])
if delay > 0 then
  call('ZADD', own .. 'delayed', (now + delay) * 4096 + count % 4096, id)
  call('PUBLISH', own .. 'delayed', string.format('%.0f', now + delay))
else
  enqueue(id, ARGV[10] == '1')
end
note(id, 'added')
return report(1)

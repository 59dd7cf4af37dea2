
-- Delayed jobs are due ARGV[4] milliseconds from now.
local delay = tonumber(ARGV[4])
local done = 0
for at = 5, #ARGV do
  local id = ARGV[at]
  local is_free = is_whole(id)
  if is_free and call('ZREM', own .. 'delayed', id) == 0 then
    note(id, 'elsewhere')
  elseif is_free then
    call('ZADD', own .. 'delayed', score_of(now + delay), id)
    call('HSET', own .. id, 'delay', delay)
    tell(own, 'delayed', 'jobId', id, 'delay', now + delay)
    done = done + 1
  end
end
if done > 0 then wake_when_due(own) end
return report(done)

-- Delayed jobs are due ARGV[4] milliseconds from now. Workers look at a message when that is.
local due = now + tonumber(ARGV[4])
local done = 0
for at = 5, #ARGV do
  if call('ZSCORE', own .. 'delayed', ARGV[at]) then
    call('ZADD', own .. 'delayed', due, ARGV[at])
    done = done + 1
  else
    note(ARGV[at], 'elsewhere')
  end
end
if done > 0 then call('PUBLISH', own .. 'earlierDelayed', string.format('%.0f', due)) end
return report(done)

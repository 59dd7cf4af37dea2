-- Removes all messages that wait in a queue, of whichever priority. What workers hold stays.
local done = 0
for _, key in ipairs(LISTS) do
  done = done + call('LLEN', key)
  call('DEL', key)
end
return report(done)

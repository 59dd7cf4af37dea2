-- Removes all messages that wait in a queue, of whichever priority. What workers hold stays.
local done = 0
for _, priority in ipairs({ '', '\6\0223', '\6\0226', '\6\0229' }) do
  done = done + call('LLEN', KEYS[1] .. priority)
  call('DEL', KEYS[1] .. priority)
end
return report(done)

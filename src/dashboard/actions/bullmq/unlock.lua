-- Drops the lock of an active job, whose worker is dead: the next look for stalled jobs gives it to another.
local id = ARGV[4]
if call('EXISTS', own .. id) == 0 then
  note(id, 'gone')
  return report(0)
end
if call('DEL', own .. id .. ':lock') == 0 then
  note(id, 'free')
  return report(0)
end
return report(1)

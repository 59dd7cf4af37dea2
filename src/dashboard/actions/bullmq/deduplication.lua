
-- Other jobs with the deduplication of this one may come again.
local id = ARGV[4]
if not is_whole(id) then return report(0) end
local name = call('HGET', own .. id, 'deid')
if not name or call('GET', own .. 'de:' .. name) ~= id then
  note(id, 'no-deduplication')
  return report(0)
end
call('DEL', own .. 'de:' .. name)
return report(1)

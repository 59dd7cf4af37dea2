
-- Gives a job other data. A worker that has it already works on with what it was given.
local id = ARGV[4]
if not is_whole(id) then return report(0) end
if call('EXISTS', own .. id) == 0 then
  note(id, 'gone')
  return report(0)
end
call('HSET', own .. id, 'data', ARGV[5])
return report(1)

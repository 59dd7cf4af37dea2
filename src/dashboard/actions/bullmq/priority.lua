
-- Gives jobs the priority ARGV[4]. One that waits gets another place at once.
local done = 0
for at = 5, #ARGV do
  local id = ARGV[at]
  local is_free = is_whole(id)
  if is_free and call('EXISTS', own .. id) == 0 then
    note(id, 'gone')
  elseif is_free then
    local waits = call('ZREM', own .. 'prioritized', id) == 1 or call('LREM', own .. 'wait', -1, id) == 1
      or call('LREM', own .. 'paused', -1, id) == 1
    call('HSET', own .. id, 'priority', tonumber(ARGV[4]))
    if waits then enqueue(id) end
    done = done + 1
  end
end
return report(done)

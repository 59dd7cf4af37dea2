
-- Removes what is in a state, but for each scheduler's next run and what a worker holds.
local is_ended = ARGV[4] == 'completed' or ARGV[4] == 'failed'
local answer = to_all(function(id)
  if not is_ended and is_next_run(own, id) then return note(id, 'scheduled') end
  if call('EXISTS', own .. id .. ':lock') == 1 then return note(id, 'locked', call('PTTL', own .. id .. ':lock')) end
  drop(id)
  call(is_list and 'LREM' or 'ZREM', state, unpack(is_list and { -1, id } or { id }))
  return true
end)
tell(own, 'cleaned', 'count', answer[1])
return answer

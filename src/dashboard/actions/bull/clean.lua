-- Removes what is in a state, but for what a worker holds.
return to_all(function(id)
  local rest = call('PTTL', own .. id .. ':lock')
  if rest ~= -2 then return note(id, 'locked', rest) end
  call(is_list and 'LREM' or 'ZREM', state, unpack(is_list and { -1, id } or { id }))
  delete(id)
  return true
end)

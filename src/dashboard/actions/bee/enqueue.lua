-- Lets jobs wait for a worker again, or at last.
return to_each(function(id)
  if call('HEXISTS', own .. 'jobs', id) == 0 then return note(id, 'gone') end
  call('LPUSH', KEYS[1], id)
  return true
end)

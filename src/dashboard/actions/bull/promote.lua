-- Lets delayed jobs run now.
return to_all(function(id)
  if call('ZREM', state, id) == 0 then return note(id, 'elsewhere') end
  enqueue(id)
  call('HSET', own .. id, 'delay', 0)
  return true
end)

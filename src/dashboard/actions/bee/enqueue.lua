-- Lets jobs wait for a worker again, or at last.
return to_each(function(id)
  call('LPUSH', KEYS[1], id)
  return true
end, function(id)
  return call('HEXISTS', own .. 'jobs', id) == 1 or note(id, 'gone')
end)

-- Removes jobs.
return to_each(function(id)
  call('SREM', own .. 'stalling', id)
  call('HDEL', own .. 'jobs', id)
  return true
end)

-- Removes jobs.
return to_each(function(id)
  call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id)
  call('ZREM', 'arq:abort', id)
  return true
end, is_free)

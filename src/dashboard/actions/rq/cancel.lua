-- Jobs are not run, and kept among those that were cancelled.
return to_each(function(id)
  if call('EXISTS', JOB .. id) == 0 then return note(id, 'gone') end
  call('HSET', JOB .. id, 'status', 'canceled')
  call('ZADD', 'rq:canceled:' .. KEYS[1]:sub(#'rq:queue:' + 1), math.floor(now / 1000), id)
  return true
end)

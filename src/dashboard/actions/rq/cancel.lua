-- Jobs are not run, and kept among those that were cancelled.
return to_each(function(id)
  call('HSET', JOB .. id, 'status', 'canceled')
  call('ZADD', 'rq:canceled:' .. name, math.floor(now / 1000), id)
  return true
end, is_whole)

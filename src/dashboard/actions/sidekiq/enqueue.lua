-- Jobs that were to come later, or were dead, wait for a worker.
return to_each(function(_, _, _, fresh)
  call('SADD', 'queues', KEYS[1]:sub(#'queue:' + 1))
  call('LPUSH', KEYS[1], fresh)
  return true
end)

-- Delayed messages are due now: each has the text that it is to have. The next worker takes them.
return to_each(function(_, key, member, fresh)
  call('HSET', key .. '.msgs', member, fresh)
  call('RPUSH', key, member)
  return true
end, is_free, true)

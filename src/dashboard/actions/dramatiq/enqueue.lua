-- Dead letters wait for a worker again, with the attempts that they have had.
return to_each(function(_, key, member)
  local message = call('HGET', key .. '.msgs', member)
  call('HDEL', key .. '.msgs', member)
  call('HSET', KEYS[1] .. '.msgs', member, message)
  call('RPUSH', KEYS[1], member)
  return true
end, function(id, key, member)
  return call('HEXISTS', key .. '.msgs', member) == 1 or note(id, 'gone')
end)

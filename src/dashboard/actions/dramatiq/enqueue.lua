-- Dead letters wait for a worker again, with the attempts that they have had.
return to_each(function(id, key, member)
  local message = call('HGET', key .. '.msgs', member)
  if not message then return note(id, 'gone') end
  call('HDEL', key .. '.msgs', member)
  call('HSET', KEYS[1] .. '.msgs', member, message)
  call('RPUSH', KEYS[1], member)
  return true
end)

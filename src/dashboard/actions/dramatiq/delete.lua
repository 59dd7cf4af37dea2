-- Removes messages.
return to_each(function(_, key, member)
  call('HDEL', key .. '.msgs', member)
  return true
end, is_free)

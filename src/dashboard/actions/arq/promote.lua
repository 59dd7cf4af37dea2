-- Lets jobs run now.
return to_each(function(id)
  call('ZADD', KEYS[1], now, id)
  return true
end, is_free, true)

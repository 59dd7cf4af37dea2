-- Retries jobs that have failed: they wait again, with the attempts that they have had.
return to_all(function(id)
  if call('EXISTS', own .. id) == 0 then return note(id, 'gone') end
  local rest = call('PTTL', own .. id .. ':lock')
  if rest ~= -2 then return note(id, 'locked', rest) end
  if call('ZREM', state, id) == 0 then return note(id, 'elsewhere') end
  local is_readable, opts = pcall(cjson.decode, call('HGET', own .. id, 'opts') or '{}')
  call('HDEL', own .. id, 'finishedOn', 'processedOn', 'failedReason')
  call('HSET', own .. id, 'retriedOn', ARGV[3])
  call((is_readable and opts.lifo == true) and 'RPUSH' or 'LPUSH', waiting_list(), id)
  tell_waiting(id)
  return true
end)

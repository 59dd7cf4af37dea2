-- Removes jobs, but those that a worker holds.
return to_all(function(id)
  local rest = call('PTTL', own .. id .. ':lock')
  if rest ~= -2 then return note(id, 'locked', rest) end
  local was_there = call('EXISTS', own .. id)
  for _, name in ipairs({ 'active', 'wait', 'paused' }) do
    was_there = was_there + call('LREM', own .. name, 0, id)
  end
  for _, name in ipairs({ 'delayed', 'completed', 'failed' }) do
    was_there = was_there + call('ZREM', own .. name, id)
  end
  delete(id)
  return was_there > 0 or note(id, 'gone')
end)

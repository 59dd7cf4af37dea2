
-- Retries jobs that have ended: they wait again, with the attempts that they have had. A parent that was told
-- of their end waits for them again.
local function give_back(id)
  local key, parent = own .. id, call('HGET', own .. id, 'parentKey') or ''
  if parent == '' or call('EXISTS', parent) == 0 then return end
  local was_told
  if ARGV[4] == 'completed' then
    was_told = call('HDEL', parent .. ':processed', key)
  else
    was_told = call('ZREM', parent .. ':unsuccessful', key) + call('HDEL', parent .. ':failed', key)
  end
  if was_told > 0 then call('SADD', parent .. ':dependencies', key) end
end

return to_all(function(id)
  if call('EXISTS', own .. id) == 0 then return note(id, 'gone') end
  if call('ZREM', state, id) == 0 then return note(id, 'elsewhere') end
  local is_readable, opts = pcall(cjson.decode, call('HGET', own .. id, 'opts') or '{}')
  local result = ARGV[4] == 'completed' and 'returnvalue' or 'failedReason'
  call('HDEL', own .. id, 'finishedOn', 'processedOn', result)
  enqueue(id, is_readable and opts.lifo == true)
  give_back(id)
  tell(own, 'waiting', 'jobId', id, 'prev', ARGV[4])
  return true
end)

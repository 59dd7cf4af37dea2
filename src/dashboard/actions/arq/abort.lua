-- Has workers abort jobs, whether they run or not, where these may (allow_abort_jobs).
local done = 0
for at = 4, #ARGV do
  local id = ARGV[at]
  local due = call('ZSCORE', KEYS[1], id)
  if due then
    if tonumber(due) > now then call('ZADD', KEYS[1], 1, id) end
    call('ZADD', 'arq:abort', now, id)
    done = done + 1
  else
    note(id, 'gone')
  end
end
return report(done)

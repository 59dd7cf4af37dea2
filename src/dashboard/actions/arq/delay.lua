-- Jobs are due ARGV[4] milliseconds from now, and kept for a day more at least.
local DAY_MS = 86400000
local delay = tonumber(ARGV[4])
local done = 0
for at = 5, #ARGV do
  local id = ARGV[at]
  if not call('ZSCORE', KEYS[1], id) then
    note(id, 'gone')
  elseif is_free(id) then
    call('ZADD', KEYS[1], now + delay, id)
    local kept = call('PTTL', 'arq:job:' .. id)
    if kept >= 0 and kept < delay + DAY_MS then call('PEXPIRE', 'arq:job:' .. id, delay + DAY_MS) end
    done = done + 1
  end
end
return report(done)

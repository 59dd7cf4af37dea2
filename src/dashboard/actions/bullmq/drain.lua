
-- Removes what waits, and with ARGV[4] what is delayed; each scheduler's next run stays.
local PIECE = 250
local names = { 'wait', 'paused', 'prioritized' }
if ARGV[4] == '1' then names[4] = 'delayed' end
local schedulers = call('ZCARD', own .. 'repeat')
local done, left = 0, 0
for _, name in ipairs(names) do
  local key = own .. name
  local is_list = name == 'wait' or name == 'paused'
  -- As many may have to stay as there are schedulers, so among so many there is one that may go.
  local most = PIECE + schedulers
  local ids = is_list and call('LRANGE', key, -most, -1) or call('ZRANGE', key, 0, most - 1)
  local kept = 0
  for _, id in ipairs(ids) do
    if not is_whole(id) or is_next_run(own, id) then
      kept = kept + 1
    elseif done < PIECE then
      drop(id)
      call(is_list and 'LREM' or 'ZREM', key, unpack(is_list and { -1, id } or { id }))
      done = done + 1
    end
  end
  left = left + (is_list and call('LLEN', key) or call('ZCARD', key)) - kept
end
return report(done, 0, left)

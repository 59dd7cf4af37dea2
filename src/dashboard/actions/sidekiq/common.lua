-- What the actions on a queue of Sidekiq have in common. KEYS[1] is the list of its jobs, ARGV[4] how many jobs
-- there are from the first that is meant on, ARGV[5] how many were passed over before. For each job follow its
-- id, the key that it stands in (none if it has gone), its text there, and that which it is to have.
local function take_out(id, key, text)
  if key == '' then return note(id, 'gone') end
  local is_list = call('TYPE', key).ok == 'list'
  local taken = is_list and call('LREM', key, 1, text) or call('ZREM', key, text)
  return taken == 1 or note(id, 'elsewhere')
end

local function to_each(act)
  local done, looked = 0, 0
  for at = 6, #ARGV, 4 do
    looked = looked + 1
    if take_out(ARGV[at], ARGV[at + 1], ARGV[at + 2]) then
      act(ARGV[at + 2], ARGV[at + 3])
      done = done + 1
    end
  end
  return report(done, tonumber(ARGV[5]) + looked - done, math.max(tonumber(ARGV[4]) - looked, 0), looked)
end


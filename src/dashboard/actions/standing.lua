-- What actions have in common that find jobs where they stand, for who has said where the first job's words
-- are (FIRST). Two words before them are how many jobs there are from the first that is meant on, and how many
-- were passed over before. A job's words are its id, the key that it stands in (none if it has gone), what
-- stands there, and one of the library's own.
local WIDTH = 4

local function take_out(id, key, member)
  if key == '' then return note(id, 'gone') end
  local kind = call('TYPE', key).ok
  local is_set = kind == 'set'
  local taken = kind == 'list' and call('LREM', key, 1, member)
    or call(is_set and 'SREM' or 'ZREM', key, member)
  return taken == 1 or note(id, 'elsewhere')
end

-- Does something to each that is meant, once it is taken out of where it stands; `act` says whether it did.
-- Where there is `is_free`, it says before that whether it may be taken out. `stays` is whether those that were
-- done are of the state still, before all others.
local function to_each(act, is_free, stays)
  local done, looked = 0, 0
  for at = FIRST, #ARGV, WIDTH do
    looked = looked + 1
    local id, key, member = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local may = key == '' or not is_free or is_free(id, key, member)
    if may and take_out(id, key, member) and act(id, key, member, ARGV[at + 3]) then done = done + 1 end
  end
  local before, total = tonumber(ARGV[FIRST - 1]), tonumber(ARGV[FIRST - 2])
  return report(done, before + looked - (stays and 0 or done), math.max(total - looked, 0), looked)
end


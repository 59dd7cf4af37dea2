
-- Which jobs are meant: ARGV[4] is their state. ARGV[5] is how many of it at most, and then ARGV[6] how many
-- to pass over, ARGV[7] up to which score, ARGV[8] and ARGV[9] a field and what stands there; or it is empty,
-- and ids follow.
local PIECE = 250
local state = own .. ARGV[4]
local is_list = call('TYPE', state).ok == 'list'
local is_by_id = ARGV[5] == ''

local function of_state()
  local count, skip = math.min(tonumber(ARGV[5]), PIECE), tonumber(ARGV[6])
  if not is_list then
    local last = ARGV[7] == '' and '+inf' or ARGV[7]
    return call('ZRANGEBYSCORE', state, '-inf', last, 'LIMIT', skip, count)
  end
  -- Workers take from the right end, so these are the first.
  local ids = call('LRANGE', state, -skip - count, -skip - 1)
  for at = 1, math.floor(#ids / 2) do ids[at], ids[#ids + 1 - at] = ids[#ids + 1 - at], ids[at] end
  return ids
end

local function is_like(id)
  return is_by_id or ARGV[8] == '' or call('HGET', own .. id, ARGV[8]) == ARGV[9]
end

local function count_left(skip)
  if is_by_id then return 0 end
  local last = ARGV[7] == '' and '+inf' or ARGV[7]
  local count = is_list and call('LLEN', state) or call('ZCOUNT', state, '-inf', last)
  return math.max(count - skip, 0)
end

-- Does something to each that is meant.
local function to_all(act)
  local ids = is_by_id and { unpack(ARGV, 6) } or of_state()
  local done, skip = 0, is_by_id and 0 or tonumber(ARGV[6])
  for _, id in ipairs(ids) do
    if is_whole(id) and is_like(id) and act(id) then done = done + 1 else skip = skip + 1 end
  end
  return report(done, skip, count_left(skip), #ids)
end

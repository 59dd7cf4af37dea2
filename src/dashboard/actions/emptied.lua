-- Empties a queue of Bull or BullMQ, so many jobs at a time.
local PIECE = 250
local LISTS = { active = true, wait = true, paused = true }

-- Whether jobs run, and ARGV[4] does not say that this is no matter.
local function is_refused()
  local running = call('LLEN', own .. 'active')
  if running == 0 or ARGV[4] == '1' then return false end
  note('', 'running', running)
  return true
end

-- Removes jobs of the states of these names with what belongs to them. Returns how many, and how many are left.
local function empty(names, forget)
  local done, left = 0, 0
  for _, name in ipairs(names) do
    local key, most, is_list = own .. name, PIECE - done, LISTS[name]
    if most > 0 then
      local ids = is_list and call('LRANGE', key, -most, -1) or call('ZRANGE', key, 0, most - 1)
      for _, id in ipairs(ids) do
        if is_whole(id) then
          forget(id)
          call('DEL', own .. id .. ':lock')
          call(is_list and 'LREM' or 'ZREM', key, unpack(is_list and { -1, id } or { id }))
          done = done + 1
        end
      end
    end
    left = left + (is_list and call('LLEN', key) or call('ZCARD', key))
  end
  return done, left
end



-- Removes jobs with their children, wherever they are; not what a worker holds, nor a scheduler's next run.
local SORTED = { 'completed', 'waiting-children', 'delayed', 'failed', 'prioritized' }
local LISTS = { 'wait', 'paused', 'active' }

local function children(key)
  local all = {}
  local function add(keys) for _, child in ipairs(keys) do all[#all + 1] = child end end
  add(call('HKEYS', key .. ':processed'))
  add(call('HKEYS', key .. ':failed'))
  add(call('ZRANGE', key .. ':unsuccessful', 0, -1))
  add(call('SMEMBERS', key .. ':dependencies'))
  return all
end

-- The job itself or one below it that a worker holds, and for how long.
local function held(key, seen)
  if seen[key] then return nil end
  seen[key] = true
  local rest = call('PTTL', key .. ':lock')
  if rest ~= -2 then return rest end
  for _, child in ipairs(children(key)) do
    rest = held(child, seen)
    if rest then return rest end
  end
end

-- What stands below it, and is to be something else.
local function odd_below(key, seen)
  if seen[key] then return nil end
  seen[key] = true
  for _, child in ipairs(children(key)) do
    local found = other_type(keys_of(queue_of(child))) or odd_job(queue_of(child), child, {}) or odd_below(child, seen)
    if found then return found end
  end
end

local function take_out(queue, id)
  for _, name in ipairs(SORTED) do
    if call('ZREM', queue .. name, id) == 1 then return name end
  end
  for _, name in ipairs(LISTS) do
    if call('LREM', queue .. name, 1, id) == 1 then return name end
  end
end

local function remove(key, seen)
  if seen[key] then return end
  seen[key] = true
  local queue, id = split(key)
  detach(key, false)
  for _, child in ipairs(children(key)) do remove(child, seen) end
  local before = take_out(queue, id)
  release(queue, id)
  local is_there = delete(key) > 0
  if is_there then tell(queue, 'removed', 'jobId', id, 'prev', before or 'unknown') end
  return is_there or before
end

return to_all(function(id)
  if is_next_run(own, id) then return note(id, 'scheduled') end
  local found = odd_below(own .. id, {})
  if found then return note(id, 'odd', found) end
  local rest = held(own .. id, {})
  if rest then return note(id, 'locked', rest) end
  return remove(own .. id, {}) or note(id, 'gone')
end)

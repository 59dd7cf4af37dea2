
-- A key of a job, apart: its queue and its id.
local function split(key)
  local queue = queue_of(key)
  return queue, key:sub(#queue + 1)
end

local function delete(key)
  return call('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed',
    key .. ':unsuccessful')
end

-- Other jobs with the same deduplication may come again.
local function release(queue, id)
  local name = call('HGET', queue .. id, 'deid')
  if name and call('GET', queue .. 'de:' .. name) == id then
    call('DEL', queue .. 'de:' .. name, queue .. 'dn:' .. name)
  end
end

-- A parent waits for a child no more. With the last of them it may run; if a whole state is cleared it goes
-- as well, where it is in the same queue.
local function detach(key, is_cleared)
  local parent = call('HGET', key, 'parentKey') or ''
  if parent == '' or call('SREM', parent .. ':dependencies', key) == 0 then return end
  if call('SCARD', parent .. ':dependencies') > 0 then return end
  local queue, id = split(parent)
  if call('ZREM', queue .. 'waiting-children', id) == 0 then return end
  if is_cleared and queue == own then
    detach(parent, is_cleared)
    release(queue, id)
    delete(parent)
    return
  end
  local _, is_paused = is_held(queue)
  call('RPUSH', waiting_list(queue, is_paused), id)
  wake(queue)
  if not is_cleared then tell(queue, 'waiting', 'jobId', id, 'prev', 'waiting-children') end
end

local function drop(id)
  detach(own .. id, true)
  release(own, id)
  delete(own .. id)
end

-- What the actions on a queue of RQ have in common. KEYS[1] is the list of its jobs. ARGV[4] is the time as RQ
-- writes it, ARGV[5] how many jobs there are from the first that is meant on, ARGV[6] how many were passed over
-- before. For each job follow its id, the key that it stands in (none if it has gone), and what stands there.
local JOB = 'rq:job:'

local function take_out(id, key, member)
  if key == '' then return note(id, 'gone') end
  local is_list = call('TYPE', key).ok == 'list'
  local taken = is_list and call('LREM', key, 1, member) or call('ZREM', key, member)
  return taken == 1 or note(id, 'elsewhere')
end

-- Does something to each that is meant, once it is taken out of where it stands.
local function to_each(act)
  local done, looked = 0, 0
  for at = 7, #ARGV, 3 do
    looked = looked + 1
    local id, key = ARGV[at], ARGV[at + 1]
    if take_out(id, key, ARGV[at + 2]) and act(id, key) then done = done + 1 end
  end
  return report(done, tonumber(ARGV[6]) + looked - done, math.max(tonumber(ARGV[5]) - looked, 0), looked)
end

-- A job waits again, with what it was given. One that has ended well was to be forgotten soon.
local function enqueue(id, key)
  if call('EXISTS', JOB .. id) == 0 then return note(id, 'gone') end
  call('HSET', JOB .. id, 'status', 'queued', 'enqueued_at', ARGV[4], 'started_at', '', 'ended_at', '')
  if key:sub(1, 12) == 'rq:finished:' then call('PERSIST', JOB .. id) end
  call('SADD', 'rq:queues', KEYS[1])
  call('RPUSH', KEYS[1], id)
  return true
end

local function delete(id)
  call('DEL', JOB .. id, JOB .. id .. ':dependents', 'rq:job::' .. id .. ':dependencies', 'rq:results:' .. id,
    'rq:executions:' .. id)
  return true
end


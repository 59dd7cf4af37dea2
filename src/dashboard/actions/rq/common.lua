-- What the actions on a queue of RQ have in common. KEYS[1] is the list of its jobs. ARGV[4] is the time as RQ
-- writes it; behind it stand the jobs, as standing.lua says.
local FIRST = 7
local JOB = 'rq:job:'

local name = KEYS[1]:sub(#'rq:queue:' + 1)
local registries = {}
for _, what in ipairs({ 'finished', 'failed', 'scheduled', 'deferred', 'canceled' }) do
  registries[#registries + 1] = 'rq:' .. what .. ':' .. name
end
local refused = refusal({ list = { KEYS[1] }, set = { 'rq:queues' }, zset = registries })
if refused then return refused end

-- Whether a job can be changed, before it is taken out of where it stands.
local function is_whole(id)
  if call('EXISTS', JOB .. id) == 0 then return note(id, 'gone') end
  return is_sound(id, { hash = { JOB .. id } })
end

-- A job waits again, with what it was given. One that has ended well was to be forgotten soon.
local function enqueue(id, key)
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


-- What all actions have in common. KEYS[1] names the queue; ARGV[1] is the version of its library, where its
-- keys differ by that, ARGV[2] its database, ARGV[3] the time in milliseconds. What follows is the action's
-- own. Each answers how many jobs it has done something to, how many of a state it has passed over, how many
-- of that are left, how many it has looked at, and then its notes: the id of a job, a word for what is to be
-- said of it, and a detail.
local call = redis.call
local now = tonumber(ARGV[3])
if ARGV[2] ~= '0' then call('SELECT', ARGV[2]) end

local notes = {}
local function note(id, word, detail)
  for _, text in ipairs({ id, word, tostring(detail or '') }) do notes[#notes + 1] = text end
end

local function report(done, skip, left, looked)
  return { done, skip or 0, left or 0, looked or done, unpack(notes) }
end


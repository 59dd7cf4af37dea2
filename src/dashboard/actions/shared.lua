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

-- Of keys by the types that they are to have: a sentence on one that is there and has another, or nil. What
-- runs into such a key half-way would leave half of its work behind, so it is asked before the first change.
local function other_type(types)
  for wanted, keys in pairs(types) do
    for _, key in ipairs(keys) do
      local found = call('TYPE', key).ok
      if found ~= 'none' and found ~= wanted then
        return 'the key ' .. key .. ' is of type ' .. found .. ', and is to be of type ' .. wanted
      end
    end
  end
end

local function refusal(types)
  local odd = other_type(types)
  return odd and redis.error_reply('WRONGTYPE ' .. odd)
end

-- The same of a job's keys, which is a note then: whether they are as they are to be.
local function is_sound(id, types)
  local odd = other_type(types)
  return not odd or note(id, 'odd', odd)
end

local function report(done, skip, left, looked)
  return { done, skip or 0, left or 0, looked or done, unpack(notes) }
end


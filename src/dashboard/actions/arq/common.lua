-- What the actions on a queue of arq have in common. KEYS[1] is the sorted set of its jobs by when they are
-- due, in which a job stays until it has ended.
local FIRST = 6

local refused = refusal({ zset = { KEYS[1], 'arq:abort' } })
if refused then return refused end

local function is_free(id)
  return call('EXISTS', 'arq:in-progress:' .. id) == 0 or note(id, 'held')
end


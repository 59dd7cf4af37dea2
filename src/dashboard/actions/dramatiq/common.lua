-- What the actions on a queue of dramatiq have in common. KEYS[1] is the list of the ids that wait; what an id
-- in such a key means stands in a hash beside it.
local FIRST = 6

local refused = refusal({
  list = { KEYS[1], KEYS[1] .. '.DQ' },
  zset = { KEYS[1] .. '.XQ' },
  hash = { KEYS[1] .. '.msgs', KEYS[1] .. '.DQ.msgs', KEYS[1] .. '.XQ.msgs' },
})
if refused then return refused end

-- A worker that has taken a delayed message keeps it until it is due.
local function is_free(id, key, member)
  return key:sub(-3) ~= '.DQ' or call('LPOS', key, member) or note(id, 'held')
end


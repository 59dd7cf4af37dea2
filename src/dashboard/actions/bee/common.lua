-- What the actions on a queue of bee-queue have in common. KEYS[1] is the list of the jobs that wait.
local FIRST = 6
local own = KEYS[1]:sub(1, -#'waiting' - 1)

local refused = refusal({
  list = { KEYS[1], own .. 'active' },
  zset = { own .. 'delayed' },
  set = { own .. 'failed', own .. 'succeeded', own .. 'stalling' },
  hash = { own .. 'jobs' },
})
if refused then return refused end


-- What the actions on a queue of Sidekiq have in common. KEYS[1] is the list of its jobs. The jobs stand as
-- standing.lua says, each with the text that it is to have.
local FIRST = 6

local refused = refusal({ list = { KEYS[1] }, set = { 'queues' }, zset = { 'schedule', 'retry', 'dead' } })
if refused then return refused end


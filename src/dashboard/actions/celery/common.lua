-- What the actions on messages of Celery have in common. KEYS[1] is the list of those without a priority,
-- and each other priority that kombu tells apart has one more.
local FIRST = 6
local LISTS = { KEYS[1], KEYS[1] .. '\6\0223', KEYS[1] .. '\6\0226', KEYS[1] .. '\6\0229' }

local refused = refusal({ list = LISTS })
if refused then return refused end


-- What the actions on messages of Celery have in common. KEYS[1] is the list of those without a priority.
local FIRST = 6


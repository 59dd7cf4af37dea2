
-- How many jobs may run at once, and how many may begin within how many milliseconds; empty is without bound.
local function set(field, value)
  if value == '' then call('HDEL', own .. 'meta', field) else call('HSET', own .. 'meta', field, value) end
end
set('concurrency', ARGV[4])
set('max', ARGV[5])
set('duration', ARGV[6])
wake_if_any(own)
return report(1)

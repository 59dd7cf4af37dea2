-- Removes a queue with all that belongs to it. Where jobs run, only if ARGV[4] says so.
if is_refused() then return report(0) end
local done = call('HLEN', own .. 'jobs')
for _, name in ipairs({ 'id', 'jobs', 'stallBlock', 'stalling', 'waiting', 'active', 'succeeded', 'failed', 'delayed' }) do
  call('DEL', own .. name)
end
return report(done)

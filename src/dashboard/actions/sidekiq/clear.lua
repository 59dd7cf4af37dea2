-- Removes all jobs that wait in a queue, and the queue until the next one comes.
local done = call('LLEN', KEYS[1])
call('DEL', KEYS[1])
call('SREM', 'queues', KEYS[1]:sub(#'queue:' + 1))
return report(done)

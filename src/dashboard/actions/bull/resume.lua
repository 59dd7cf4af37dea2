-- Jobs are given out again.
if call('EXISTS', own .. 'paused') == 1 then call('RENAME', own .. 'paused', own .. 'wait') end
call('DEL', own .. 'meta-paused')
call('HDEL', own .. 'meta', 'paused')
call('PUBLISH', own .. 'resumed', 'resumed')
return report(1)

-- No job is given out any more; those that run are not touched.
if call('EXISTS', own .. 'wait') == 1 then call('RENAME', own .. 'wait', own .. 'paused') end
call('SET', own .. 'meta-paused', 1)
call('HSET', own .. 'meta', 'paused', 1)
call('PUBLISH', own .. 'paused', 'paused')
return report(1)

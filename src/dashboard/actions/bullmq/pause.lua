
-- No job is given out any more; those that run are not touched.
if era < 6 and call('EXISTS', own .. 'wait') == 1 then call('RENAME', own .. 'wait', own .. 'paused') end
call('HSET', own .. 'meta', 'paused', 1)
call('DEL', own .. 'marker')
tell(own, 'paused')
return report(1)

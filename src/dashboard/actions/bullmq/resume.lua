
-- Jobs are given out again. What older versions have put aside joins those that wait, so that it comes first.
local PIECE = 5000
call('HDEL', own .. 'meta', 'paused')
local wait, aside = own .. 'wait', own .. 'paused'
if call('EXISTS', wait) == 0 and call('EXISTS', aside) == 1 then
  call('RENAME', aside, wait)
else
  for _, id in ipairs(call('LRANGE', aside, 0, PIECE - 1)) do call('RPUSH', wait, id) end
  call('LTRIM', aside, PIECE, -1)
end
local left = call('LLEN', aside)
if call('LLEN', wait) + call('ZCARD', own .. 'prioritized') == 0 then
  wake_when_due(own)
elseif era >= 5 then
  wake(own)
elseif call('LLEN', wait) == 0 then
  call('LPUSH', wait, '0:0')
end
if left == 0 then tell(own, 'resumed') end
return report(1, 0, left)

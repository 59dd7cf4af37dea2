
-- Jobs that the rate limit holds back may begin now.
call('DEL', own .. 'limiter')
wake_if_any(own)
return report(1)

-- No worker of any queue takes a job any more.
call('SET', 'rq:suspended', 1)
return report(1)

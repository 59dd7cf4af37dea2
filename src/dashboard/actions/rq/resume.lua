-- Workers take jobs again.
call('DEL', 'rq:suspended')
return report(1)

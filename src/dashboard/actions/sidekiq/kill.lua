-- Jobs are dead: kept to be looked at for half a year, 10,000 of them at most, and run by nobody.
local KEPT_S, KEPT_MAX = 15552000, 10000
return to_each(function(_, _, text)
  call('ZADD', 'dead', now / 1000, text)
  call('ZREMRANGEBYSCORE', 'dead', '-inf', now / 1000 - KEPT_S)
  call('ZREMRANGEBYRANK', 'dead', 0, -KEPT_MAX)
  return true
end)

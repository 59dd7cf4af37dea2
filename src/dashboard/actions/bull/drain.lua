-- Removes what waits, and with ARGV[4] what is delayed.
local names = { 'wait', 'paused', ARGV[4] == '1' and 'delayed' or nil }
local done, left = empty(names, delete)
return report(done, 0, left)

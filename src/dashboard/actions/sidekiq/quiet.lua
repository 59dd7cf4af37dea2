-- Processes end what they do and take nothing more: their names follow.
local signals = {}
for at = 4, #ARGV do signals[#signals + 1] = ARGV[at] .. '-signals' end
local refused = refusal({ list = signals })
if refused then return refused end
for _, key in ipairs(signals) do
  call('LPUSH', key, 'TSTP')
  call('EXPIRE', key, 60)
end
return report(#signals)

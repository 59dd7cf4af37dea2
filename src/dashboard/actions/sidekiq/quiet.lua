-- Processes end what they do and take nothing more: their names follow.
for at = 4, #ARGV do
  call('LPUSH', ARGV[at] .. '-signals', 'TSTP')
  call('EXPIRE', ARGV[at] .. '-signals', 60)
end
return report(#ARGV - 3)

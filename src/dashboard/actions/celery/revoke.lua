-- Tells workers not to run tasks, which they know until they end: ARGV[4] is the channel of their orders. Tasks
-- that run already go on.
local ids = { unpack(ARGV, 5) }
local order = cjson.encode({ method = 'revoke', arguments = { task_id = ids } })
local heard = call('PUBLISH', ARGV[4], cjson.encode({
  body = order,
  headers = {},
  properties = { delivery_tag = 'toril' },
  ['content-type'] = 'application/json',
  ['content-encoding'] = 'utf-8',
}))
if heard == 0 then note('', 'unheard') end
return report(heard > 0 and #ids or 0)

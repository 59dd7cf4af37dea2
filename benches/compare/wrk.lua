-- wrk's script: TOKEN METHOD [BODY] behind the URL; prints its counts as JSON.

function init(words)
  wrk.headers["Authorization"] = "Bearer " .. words[1]
  wrk.method, wrk.body = words[2], words[3]
end

function done(summary)
  local errors = 0
  for _, count in pairs(summary.errors) do errors = errors + count end
  local form = '{"count":%d,"us":%d,"errors":%d}\n'
  io.write(form:format(summary.requests, summary.duration, errors))
end

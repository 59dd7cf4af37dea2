-- Removes jobs.
return to_each(function() end)

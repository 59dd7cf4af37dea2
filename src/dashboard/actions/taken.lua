-- Removes jobs of which nothing is kept but where they stand.
return to_each(function() return true end)

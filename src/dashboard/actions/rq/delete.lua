-- Removes jobs with what became of them.
return to_each(delete)

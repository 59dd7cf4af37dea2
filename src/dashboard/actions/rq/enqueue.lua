-- Lets jobs wait for a worker again, or at last.
return to_each(enqueue, is_whole)

"""Labels: reading annotations, resolving votes, tasks with several images."""

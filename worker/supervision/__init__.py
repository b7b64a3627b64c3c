"""Child processes: started, watched, and killed with their parent."""

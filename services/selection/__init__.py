"""The shortlist: the tasks to label next."""

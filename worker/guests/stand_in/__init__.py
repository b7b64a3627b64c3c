"""A folder for the search path of guests whose environment has no label-studio-ml."""

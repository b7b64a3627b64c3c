"""Connections, projects, and the values that belong to each."""

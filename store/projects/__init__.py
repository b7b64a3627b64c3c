"""Connections, projects and what is kept for each."""

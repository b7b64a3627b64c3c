"""Pending work and the jobs that do it."""

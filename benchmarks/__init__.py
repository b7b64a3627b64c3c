"""Measurements of what the project promises: one module a promise, `python -m benchmarks` runs."""

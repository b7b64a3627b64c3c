"""Benchmarks of the audit and of auto-accept, on simulated projects."""

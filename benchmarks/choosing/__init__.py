"""Benchmarks of what is said about choosing: audit, auto-accept."""

"""Benchmarks of a whole Apprentice with a real Label Studio."""

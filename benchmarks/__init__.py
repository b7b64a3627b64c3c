"""Benchmarks, one module for each promise of the documents."""

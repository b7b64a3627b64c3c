"""Benchmarks of selection strategies on real images."""

"""Benchmarks of learning: what is fitted, measured, gated and calibrated."""

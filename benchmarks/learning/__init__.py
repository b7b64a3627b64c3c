"""Benchmarks of heads, fine-tuning, the gate, calibration and label quality."""

"""Intervals, bounds, calibration and groups: statistics in plain arrays."""

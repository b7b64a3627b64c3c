"""Confidence intervals, calibration, folds and near-duplicates, on plain arrays."""

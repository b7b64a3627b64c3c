"""Fitting the head of one control, measured and calibrated."""

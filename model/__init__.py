"""Machine learning on arrays: backbones, heads, evaluation, calibration, selection."""

"""What is learned: backbones, heads, evaluation, calibration, selection. Arrays in, arrays out."""

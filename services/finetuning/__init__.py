"""Fine-tuning backbones: when, on what, and what is kept of it."""

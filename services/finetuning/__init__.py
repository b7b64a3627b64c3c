"""Fine-tuning backbones: when it runs, its training set, its progress, deleting old backbones."""

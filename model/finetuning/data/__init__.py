"""Training images: decoding, augmentation, batches."""

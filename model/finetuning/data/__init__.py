"""Images for fine-tuning: loading, batches, augmentation."""

"""The training loop of fine-tuning: steps, validation, checkpoints, averaging."""

"""Training heads on embeddings, and gating what comes of it."""

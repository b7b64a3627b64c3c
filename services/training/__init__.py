"""Training heads on embeddings, and the gate that compares versions."""

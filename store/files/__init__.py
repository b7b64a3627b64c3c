"""Files: model artifacts and embeddings."""

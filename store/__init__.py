"""What is remembered: settings, database, embeddings, artifacts."""

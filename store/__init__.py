"""Everything that is stored: settings, database, embeddings, artifacts."""

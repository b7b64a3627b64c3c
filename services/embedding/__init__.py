"""Embeddings: computing them in bulk, their backbones, and search by similarity."""

"""The inference process, which embeds new images on request."""

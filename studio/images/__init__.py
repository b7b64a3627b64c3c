"""Images: which addresses may be fetched, downloading and decoding."""

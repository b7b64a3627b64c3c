"""File formats: recognising them, leaving their metadata out, and their pixels as 8-bit RGB."""

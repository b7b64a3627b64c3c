"""The inference process: embeds images never seen before."""

"""Connecting Label Studio projects, and the clients that reach them."""

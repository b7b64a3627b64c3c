"""The command `apprentice`."""

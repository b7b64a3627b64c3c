"""Backups: everything that is stored, in one file."""

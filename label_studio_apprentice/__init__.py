"""What other programs import of Apprentice."""

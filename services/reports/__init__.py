"""Reports on labels, accuracy and the use of suggestions."""

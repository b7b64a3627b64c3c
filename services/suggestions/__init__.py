"""Suggestions: what a version predicts, as Label Studio's predictions."""

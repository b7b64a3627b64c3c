"""Suggestions: a version's predictions for tasks, in Label Studio's format."""

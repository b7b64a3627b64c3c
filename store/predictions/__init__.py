"""Predictions: published, shown, chosen and accepted."""

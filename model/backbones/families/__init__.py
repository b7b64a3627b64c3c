"""Backbone families: one module for each source of pretrained models."""

"""Backbone families: one module a source of backbones."""

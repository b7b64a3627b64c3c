"""Guests: model classes written for label-studio-ml, each in a process of its own."""

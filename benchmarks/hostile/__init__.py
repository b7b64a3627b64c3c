"""Attacks: what strangers can put into a task, an image, an answer or a request."""

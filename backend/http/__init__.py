"""Shared parts of HTTP routes: authentication, request bodies, thread pools, caches, metrics."""

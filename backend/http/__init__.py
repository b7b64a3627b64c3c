"""The server's edge, and shared parts of HTTP routes: authentication, limits, thread pools."""

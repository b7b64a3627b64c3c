"""What all HTTP routes share: authentication, bodies, threads, metrics."""

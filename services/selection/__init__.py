"""Active learning: which tasks are labelled next."""

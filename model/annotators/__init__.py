"""Several annotators: consensus and label quality."""

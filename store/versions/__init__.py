"""Model versions and what is known of each."""

"""Learning from a project's labels: a decision, one transaction that writes it, and follow-ups."""

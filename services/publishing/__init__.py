"""Publishing predictions to Label Studio within a budget of its time."""

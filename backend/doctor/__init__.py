"""The checks of `apprentice doctor`."""

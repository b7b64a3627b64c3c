"""What each command of `apprentice` does; imported only when the command is given."""

"""`python -m backend.cli` is the command `apprentice`."""

from backend.cli.main import main

main()

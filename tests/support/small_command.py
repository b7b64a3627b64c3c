"""The command line `apprentice`, which knows the small backbones too."""

import tests.support.small_backbones  # noqa: F401
from backend.cli.main import main

if __name__ == "__main__":
    main()

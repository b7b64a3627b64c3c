"""`apprentice inference`."""

from backend.cli.common import load_settings
from backend.inference.app import main


def run() -> None:
    """Run the inference process until SIGTERM or Ctrl-C."""
    main(load_settings())

"""`apprentice inference`."""

from backend.commands.common import load_settings
from backend.inference import main


def run() -> None:
    """Run the inference process until SIGTERM or Ctrl-C."""
    main(load_settings())

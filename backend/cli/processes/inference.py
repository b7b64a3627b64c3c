"""`apprentice inference`."""

from backend.cli.store_access import load_settings


def inference() -> None:
    """Start the inference process alone: it embeds images never seen before."""
    from backend.inference.app import main

    main(load_settings())

"""`apprentice inference`."""

from backend.cli.store_access import load_settings


def inference() -> None:
    """Start the inference process alone: it embeds images never seen before."""
    from backend.inference.app import main
    from store.files.permissions import make_files_private

    make_files_private()
    main(load_settings())

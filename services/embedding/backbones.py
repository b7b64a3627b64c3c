"""Opens backbones by name, and stores the weights of fine-tuned ones."""

import shutil
from pathlib import Path

from model.backbones.families.tuned import FAMILY, FILE, digest_of, install
from model.embedding import Embedder, open_embedder
from services.errors import JobError
from store.files.artifacts import ArtifactError
from store.projects.embedding_spaces import TUNED, is_tuned
from store.settings import Settings
from store.store import Store


class BackboneError(JobError):
    """A backbone can't be used on this machine; the message says why."""


def backbone_folder(settings: Settings) -> Path:
    """This machine's folder of exported and fine-tuned backbones."""
    return settings.home / "backbones"


def store_finetuned(store: Store, path: Path) -> str:
    """Store a fine-tuned backbone's file here and as an artifact; returns the backbone's name."""
    backbone = install(path, backbone_folder(store.settings))
    store.artifacts.save_files(_artifact(backbone), _folder(store.settings, backbone))
    return backbone


def fetch_backbone(store: Store, backbone: str) -> None:
    """Download a fine-tuned backbone's file to this machine; other backbones need none.

    Raises:
        BackboneError: it is kept nowhere.
    """
    folder = _folder(store.settings, backbone)
    if not is_tuned(backbone) or (folder / FILE).exists():
        return
    try:
        store.artifacts.fetch_files(_artifact(backbone), folder)
    except ArtifactError as error:
        raise BackboneError(f"the fine-tuned backbone's weights are lost: {error}") from error
    if digest_of(folder / FILE) != folder.name:
        (folder / FILE).unlink()
        raise BackboneError("the fine-tuned backbone's weights arrived damaged")


def delete_finetuned(store: Store, backbone: str) -> None:
    """Delete a fine-tuned backbone's weights, here and among the artifacts, and its exports.

    Raises:
        OSError: something of it is still there.
    """
    from model.embedding.openvino_export import discard_exports

    discard_exports(backbone, backbone.removeprefix(TUNED), backbone_folder(store.settings))
    store.artifacts.remove_files(_artifact(backbone))
    folder = _folder(store.settings, backbone)
    if folder.exists():
        shutil.rmtree(folder)


def local_finetuned(settings: Settings) -> dict[str, float]:
    """{backbone: time} of fine-tuned weights on this machine; time in seconds since 1970."""
    return {
        TUNED + path.name: path.stat().st_mtime
        for path in (backbone_folder(settings) / FAMILY).glob("[!.]*")
    }


def _folder(settings: Settings, backbone: str) -> Path:
    return backbone_folder(settings) / FAMILY / backbone.removeprefix(TUNED)


def _artifact(backbone: str) -> str:
    return f"{FAMILY}/{backbone.removeprefix(TUNED)}"


def open_backbone(store: Store, backbone: str) -> Embedder:
    """The backbone, ready to embed.

    Raises:
        BackboneError: it can't be used here, for whatever reason.
    """
    settings = store.settings
    fetch_backbone(store, backbone)
    try:
        return open_embedder(
            backbone,
            device=settings.device,
            precision=settings.precision,
            cache_dir=backbone_folder(settings),
        )
    except Exception as error:  # a library's own: what it says is all that can be said
        message = str(error).strip() or type(error).__name__
        raise BackboneError(f"the backbone {backbone} can't be used here: {message}") from error

"""Backbones that were fine-tuned here: "tuned:DIGEST", named by the SHA-256 of their file.

The file is FOLDER/tuned/DIGEST/model.safetensors: the weights, and in its header what backbone they
are of and how images are prepared for it. So what is kept of a name can never change.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.backbones.registry import (
    FAMILIES,
    BackboneSpec,
    BackboneUnavailableError,
    Family,
    build_module,
    get_backbone,
)

if TYPE_CHECKING:
    import torch

FAMILY = "tuned"
FILE = "model.safetensors"
# One entry: the format's own order of several isn't fixed, and the digest must be.
METADATA = "apprentice"
FORMAT = 1


def write_tuned(
    path: Path,
    weights: Mapping[str, "torch.Tensor"],
    base: BackboneSpec,
    facts: Mapping[str, Any],
) -> str:
    """Write a tuned backbone's file; its digest. `facts` are plain JSON about how it was made."""
    from safetensors.torch import save_file

    said = {"format": FORMAT, "base": asdict(base), "facts": dict(facts)}
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in weights.items()}
    scratch = path.with_suffix(".new")
    save_file(plain, scratch, metadata={METADATA: json.dumps(said, sort_keys=True)})
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(path)
    return digest_of(path)


def install(path: Path, folder: Path) -> str:
    """Copy a tuned backbone's file to where `get_backbone(name, folder)` finds it; its name."""
    digest = digest_of(path)
    there = folder / FAMILY / digest / FILE
    if not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=there.parent, prefix=".install-")
        with os.fdopen(handle, "wb") as file:
            file.write(path.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(there)
    return f"{FAMILY}:{digest}"


def tuned_facts(path: Path) -> dict[str, Any]:
    """What was said of how the file was made, and of its base as "base"."""
    said = _said(path)
    return {**said["facts"], "base": said["base"]["name"]}


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@FAMILIES.register(FAMILY)
class Tuned(Family):
    """The family `tuned`."""

    pattern = f"{FAMILY}:DIGEST"
    help = "fine-tuned here, on a project's labels"

    def spec(self, model: str, folder: Path | None) -> BackboneSpec | None:
        """Describe the fine-tuned backbone; None without its weights."""
        path = _path(model, folder)
        if path is None:
            return None
        base = _base(_said(path))
        changed = {"name": f"{FAMILY}:{model}", "digest": model, "exact": True}
        known = {f.name for f in fields(BackboneSpec)}
        return BackboneSpec(**{k: v for k, v in ({**base, **changed}).items() if k in known})

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        """Build the torch module with the fine-tuned weights."""
        from safetensors.torch import load_file

        path = _path(model, folder)
        if path is None:
            raise BackboneUnavailableError(f"The tuned backbone {model} is not in {folder}.")
        if digest_of(path) != model:
            raise ValueError(f"{path} was changed: its digest is no longer its name.")
        module = build_module(get_backbone(_said(path)["base"]["name"], folder), folder)
        module.load_state_dict(load_file(path), strict=True)
        return module.eval()


def _path(digest: str, folder: Path | None) -> Path | None:
    whole = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    path = folder / FAMILY / digest / FILE if folder and whole else None
    return path if path and path.is_file() else None


def _said(path: Path) -> dict[str, Any]:
    """The header's own entry. ValueError for a file that wasn't written here."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if length < 100_000_000 else {}
    said = json.loads(header.get("__metadata__", {}).get(METADATA, "{}"))
    if said.get("format") != FORMAT:
        raise ValueError(f"{path} isn't a tuned backbone that this version of Apprentice reads.")
    return dict(said)


def _base(said: Mapping[str, Any]) -> dict[str, Any]:
    """The base's spec as it was, lists made tuples again."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in said["base"].items()}

"""Fine-tuned backbones: "tuned:DIGEST", named by the SHA-256 of their file.

The file is FOLDER/tuned/DIGEST/model.safetensors: the weights, with the spec of the pretrained
backbone in the header.
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
    """Write a fine-tuned backbone's file and return its digest.

    `facts`, plain JSON, describe the training.
    """
    from safetensors.torch import save_file

    header = {"format": FORMAT, "base": asdict(base), "facts": dict(facts)}
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in weights.items()}
    scratch = path.with_suffix(".new")
    save_file(plain, scratch, metadata={METADATA: json.dumps(header, sort_keys=True)})
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    scratch.replace(path)
    return digest_of(path)


def install(path: Path, folder: Path) -> str:
    """Copy the file to where `get_backbone(name, folder)` finds it; return the backbone's name."""
    digest = digest_of(path)
    target = folder / FAMILY / digest / FILE
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=".install-")
        with os.fdopen(handle, "wb") as file:
            file.write(path.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(target)
    return f"{FAMILY}:{digest}"


def tuned_facts(path: Path) -> dict[str, Any]:
    """Read the `facts` of a file, and the name of the pretrained backbone as "base"."""
    header = _read_header(path)
    return {**header["facts"], "base": header["base"]["name"]}


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
        base = _base(_read_header(path))
        changed = {"name": f"{FAMILY}:{model}", "digest": model, "exact": True}
        names = {f.name for f in fields(BackboneSpec)}
        return BackboneSpec(**{k: v for k, v in ({**base, **changed}).items() if k in names})

    def build(self, model: str, folder: Path | None) -> "torch.nn.Module":
        """Build the torch module with the fine-tuned weights."""
        from safetensors.torch import load_file

        path = _path(model, folder)
        if path is None:
            raise BackboneUnavailableError(f"The tuned backbone {model} is not in {folder}.")
        if digest_of(path) != model:
            raise ValueError(f"{path} was changed: its digest is no longer its name.")
        module = build_module(get_backbone(_read_header(path)["base"]["name"], folder), folder)
        module.load_state_dict(load_file(path), strict=True)
        return module.eval()


def _path(digest: str, folder: Path | None) -> Path | None:
    whole = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    path = folder / FAMILY / digest / FILE if folder and whole else None
    return path if path and path.is_file() else None


def _read_header(path: Path) -> dict[str, Any]:
    """Read our entry of the file's header. Raises ValueError for a file without one."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(length)) if length < 100_000_000 else {}
    header = json.loads(metadata.get("__metadata__", {}).get(METADATA, "{}"))
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} isn't a tuned backbone that this version of Apprentice reads.")
    return dict(header)


def _base(header: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the pretrained backbone's spec, with tuples for JSON's lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in header["base"].items()}

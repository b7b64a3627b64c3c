"""The specification of a fine-tuning, saved in its folder for all processes that share it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.arrays import Bools
from model.finetuning.options import Options, Target
from model.heads import Head
from model.targets.kind import get_kind

SPECIFICATION, ARRAYS = "job.json", "job.npz"
TUNED, OUTPUTS, RESULT = "tuned.safetensors", "outputs.safetensors", "result.json"


@dataclass(frozen=True, eq=False)
class Specification:
    """The backbone, targets, validation rows and options of a fine-tuning."""

    backbone: str
    backbones: Path | None  # the folder that `get_backbone` takes
    targets: tuple[Target, ...]
    validation: Bools  # [N]
    options: Options
    heads: Mapping[str, Head]

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.validation)

    def save(self, folder: Path, items: Sequence[object]) -> None:
        """Write it to the folder, which is emptied first if it holds another specification.

        Two are the same if labels, options, backbone and the items' `repr` are equal.
        """
        arrays: dict[str, NDArray[Any]] = {"validation": self.validation}
        for number, target in enumerate(self.targets):
            arrays[f"y{number}"] = np.asarray(target.y)
        for name, head in self.heads.items():
            number = [t.name for t in self.targets].index(name)
            arrays |= {f"head{number}.{part}": value for part, value in head.arrays().items()}
        specification = {
            "backbone": self.backbone,
            "backbones": str(self.backbones) if self.backbones else None,
            "targets": [[t.name, t.kind, list(t.classes)] for t in self.targets],
            "heads": {name: [h.kind, list(h.classes)] for name, h in self.heads.items()},
            "options": asdict(self.options),
            "digest": _digest(arrays, items),
        }
        text = json.dumps(specification, sort_keys=True, indent=1)
        path = folder / SPECIFICATION
        if path.exists() and path.read_text() == text:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if old.is_file():
                old.unlink()
        np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type]
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the specification that was saved in the folder."""
        saved = json.loads((folder / SPECIFICATION).read_text())
        with np.load(folder / ARRAYS) as arrays:
            targets = tuple(
                Target(name, kind, tuple(classes), arrays[f"y{number}"])
                for number, (name, kind, classes) in enumerate(saved["targets"])
            )
            numbers = {target.name: number for number, target in enumerate(targets)}
            heads = {}
            for name, (kind, classes) in saved["heads"].items():
                number = numbers[name]
                of_head = _with_prefix(arrays, f"head{number}.")
                load_head = get_kind(targets[number].kind).load_head
                heads[name] = load_head(kind, tuple(classes), of_head)
            validation = arrays["validation"]
        backbones = Path(saved["backbones"]) if saved["backbones"] else None
        options = Options(**saved["options"])
        return cls(saved["backbone"], backbones, targets, validation, options, heads)


def _with_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {n.removeprefix(prefix): arrays[n] for n in arrays if n.startswith(prefix)}


def _digest(arrays: Mapping[str, NDArray[Any]], items: Sequence[object]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    for item in items:
        digest.update(repr(item).encode() + b"\n")
    return digest.hexdigest()

"""Inspects backbones in a subprocess, which imports torch, Keras or TensorFlow.

Results are cached until the inspected files change. The subprocess is
`python -m model.backbones.inspection spec|names|local FAMILY [MODEL]`; it prints JSON.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from model.backbones.registry import (
    FAMILIES,
    BackboneSpec,
    BackboneUnavailableError,
    UnknownBackboneError,
)
from model.processes import exit_with_parent, run_module

log = logging.getLogger(__name__)

SPEC_SECONDS = 1800  # weights may have to be downloaded first: 2 GB at 10 Mbit/s take as long
NAMES_SECONDS = 120  # importing torch takes seconds, on a busy machine more

# Packages that build models: with another version, a backbone is inspected again.
PACKAGES = ("timm", "torch", "torchvision", "keras", "tensorflow")


@dataclass(frozen=True)
class Inspection:
    """A backbone's spec and the files that it was read from."""

    spec: BackboneSpec
    files: tuple[Path, ...]


class InspectedFamily(Protocol):
    """A family whose methods run in a subprocess, where they may import torch.

    The lists are for families of named models.
    """

    def inspect(self, model: str) -> Inspection | None:
        """Inspect a model; None when there is no such model.

        Raises UnknownBackboneError for a wrong option, BackboneUnavailableError.
        """
        ...

    def list_names(self) -> tuple[str, ...]:
        """List the models by name."""
        ...

    def list_local(self) -> tuple[str, ...]:
        """List the models whose weights are on this machine."""
        ...


def inspect_spec(family: str, model: str, folder: Path | None) -> BackboneSpec | None:
    """Return the spec of a model of an `InspectedFamily`, cached in `folder`; None for no model."""
    name = f"{family}:{model}"
    cached = _cache_path(folder, name)
    record = _records.get(name) or _read(cached)
    if record is not None and _is_current(record):
        _records[name] = record
        return _spec_of(record)
    answer = _ask("spec", family, model, seconds=SPEC_SECONDS)
    if "names" in answer:
        _names[family] = tuple(answer["names"])
        return None
    _records[name] = answer
    if cached is not None:
        _write(cached, answer)
    return _spec_of(answer)


def inspect_names(family: str, *, local: bool = False) -> tuple[str, ...]:
    """List the models of an `InspectedFamily`; `local`: those with weights on this machine."""
    if local:
        return tuple(_ask("local", family, seconds=NAMES_SECONDS)["names"])
    if family not in _names:
        _names[family] = tuple(_ask("names", family, seconds=NAMES_SECONDS)["names"])
    return _names[family]


_records: dict[str, dict[str, Any]] = {}
_names: dict[str, tuple[str, ...]] = {}


def _ask(*arguments: str, seconds: float) -> dict[str, Any]:
    name = ":".join(arguments[1:])
    try:
        done = run_module("model.backbones.inspection", *arguments, seconds=seconds)
    except subprocess.TimeoutExpired as exc:
        raise BackboneUnavailableError(
            f"{name} couldn't be inspected within {seconds:.0f} s."
        ) from exc
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as exc:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise BackboneUnavailableError(f"{name} couldn't be inspected: {reason}") from exc
    if "unknown" in answer:
        raise UnknownBackboneError(answer["unknown"])
    if "unavailable" in answer:
        raise BackboneUnavailableError(answer["unavailable"])
    return answer


def _answer(question: str, family: str, model: str) -> dict[str, Any]:
    entry: Any = FAMILIES.get(family)()
    try:
        if question != "spec":
            return {"names": entry.list_local() if question == "local" else entry.list_names()}
        inspection: Inspection | None = entry.inspect(model)
    except UnknownBackboneError as error:
        return {"unknown": str(error)}
    except BackboneUnavailableError as error:
        return {"unavailable": str(error)}
    except Exception as error:  # whatever other people's model code may raise
        log.exception("%s:%s", family, model)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"unavailable": f"{family}:{model} can't be used: {first}"}
    if inspection is None:
        return {"names": entry.list_names()}
    return {
        "spec": asdict(inspection.spec),
        "files": {str(path): _stamp(path) for path in inspection.files},
        "versions": versions(),
    }


def versions() -> str:
    """The installed versions of PACKAGES."""
    installed = []
    for package in PACKAGES:
        try:
            installed.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(installed)


def digest_of(files: Iterable[Path]) -> str:
    """SHA-256, hex, of the files' contents one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _is_current(record: dict[str, Any]) -> bool:
    """Whether packages and files are unchanged; missing files don't count.

    A download cache may have been emptied while an exported model is still there.
    """
    if record.get("versions") != versions():
        return False
    return all(
        _stamp(Path(path)) == stamp
        for path, stamp in record["files"].items()
        if Path(path).exists()
    )


def _spec_of(record: dict[str, Any]) -> BackboneSpec:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in record["spec"].items()
    }
    return BackboneSpec(**fields)


def _cache_path(folder: Path | None, name: str) -> Path | None:
    if folder is None:
        return None
    return folder / "specs" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _read(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        _spec_of(record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        log.warning("%s can't be read; the backbone is inspected again.", path)
        return None
    return record


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(record, file)
    Path(file.name).replace(path)


def main() -> None:
    """Answer one question in JSON on the last line of the standard output."""
    exit_with_parent()
    warnings.simplefilter("ignore")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    question, family, model = [*sys.argv[1:], ""][:3]
    # Some libraries print while they load: their output goes to stderr.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(output, "w") as answers:
        answers.write("\n" + json.dumps(_answer(question, family, model)) + "\n")


if __name__ == "__main__":
    main()

"""What only torch, Keras or TensorFlow can tell of a backbone, asked for in a process of its own.

What was found is remembered as long as the files that it was read from are the same.
Run as `python -m model.backbones.probing spec|names|local FAMILY [MODEL]`; answers in JSON.
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
from model.processes import exit_with_the_parent, run_module

log = logging.getLogger(__name__)

SPEC_SECONDS = 1800  # weights may have to be downloaded first: 2 GB at 10 Mbit/s take as long
NAMES_SECONDS = 120  # importing torch takes some, on a busy machine more

# What changes how a model is built or prepared for; a change has everything looked at again.
PACKAGES = ("timm", "torch", "torchvision", "keras", "tensorflow")


@dataclass(frozen=True)
class Finding:
    """A backbone's spec, and the files that it was read from."""

    spec: BackboneSpec
    files: tuple[Path, ...]


class Probed(Protocol):
    """A family that is asked in a process of its own; there it may import what it needs.

    The lists are for families of named models.
    """

    def look(self, model: str) -> Finding | None:
        """What there is under this name; None when there is no such model.

        Raises UnknownBackboneError (an option is wrong), BackboneUnavailableError.
        """
        ...

    def list_names(self) -> tuple[str, ...]:
        """The models that can be asked for."""
        ...

    def list_local(self) -> tuple[str, ...]:
        """Those of them whose weights are on this machine."""
        ...


def probed_spec(family: str, model: str, folder: Path | None) -> BackboneSpec | None:
    """The spec of a `Probed` family's model; what was found is kept in `folder`."""
    name = f"{family}:{model}"
    kept = _kept_in(folder, name)
    record = _remembered.get(name) or _read(kept)
    if record is not None and _still_true(record):
        _remembered[name] = record
        return _spec_of(record)
    answer = _ask("spec", family, model, seconds=SPEC_SECONDS)
    if "names" in answer:
        _names[family] = tuple(answer["names"])
        return None
    _remembered[name] = answer
    if kept is not None:
        _write(kept, answer)
    return _spec_of(answer)


def probed_names(family: str, *, local: bool = False) -> tuple[str, ...]:
    """The models of a `Probed` family; `local`: those whose weights are on this machine."""
    if local:
        return tuple(_ask("local", family, seconds=NAMES_SECONDS)["names"])
    if family not in _names:
        _names[family] = tuple(_ask("names", family, seconds=NAMES_SECONDS)["names"])
    return _names[family]


_remembered: dict[str, dict[str, Any]] = {}
_names: dict[str, tuple[str, ...]] = {}


def _ask(*arguments: str, seconds: float) -> dict[str, Any]:
    name = ":".join(arguments[1:])
    try:
        done = run_module("model.backbones.probing", *arguments, seconds=seconds)
    except subprocess.TimeoutExpired as exc:
        raise BackboneUnavailableError(f"{name} wasn't found within {seconds:.0f} s.") from exc
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as exc:
        said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise BackboneUnavailableError(f"{name} couldn't be looked at: {said}") from exc
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
        finding: Finding | None = entry.look(model)
    except UnknownBackboneError as error:
        return {"unknown": str(error)}
    except BackboneUnavailableError as error:
        return {"unavailable": str(error)}
    except Exception as error:  # whatever other people's model code may raise
        log.exception("%s:%s", family, model)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {"unavailable": f"{family}:{model} can't be used: {first}"}
    if finding is None:
        return {"names": entry.list_names()}
    return {
        "spec": asdict(finding.spec),
        "files": {str(path): _stamp(path) for path in finding.files},
        "versions": versions(),
    }


def versions() -> str:
    """The installed versions of what builds backbones."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def digest_of(files: Iterable[Path]) -> str:
    """SHA-256, hex, of the files' contents one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _still_true(record: dict[str, Any]) -> bool:
    """Whether nothing changed since. A file that is gone proves nothing: a cache was emptied, and
    what was made of it may still be at hand."""
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


def _kept_in(folder: Path | None, name: str) -> Path | None:
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
        log.warning("%s can't be read; the backbone is looked at again.", path)
        return None
    return record


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(record, file)
    Path(file.name).replace(path)


def main() -> None:
    """Answer one question on the standard output's last line."""
    exit_with_the_parent()
    warnings.simplefilter("ignore")
    question, family, model = [*sys.argv[1:], ""][:3]
    # Some libraries print while they load: only the answer may reach our output.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(output, "w") as answers:
        answers.write("\n" + json.dumps(_answer(question, family, model)) + "\n")


if __name__ == "__main__":
    main()

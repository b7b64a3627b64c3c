"""`apprentice export`."""

import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.errors import CommandError, first_line
from backend.cli.options import Connection, VersionName
from backend.cli.options import Project as ProjectOption
from backend.cli.store_access import open_project

if TYPE_CHECKING:
    from store.projects.projects import Project
    from store.store import Store
    from store.versions.versions import Version


class ExportFormatName(StrEnum):
    """The file formats that `export` writes."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    SAFETENSORS = "safetensors"


ExportFolder = Annotated[Path, typer.Option("--output", "-o", help="A folder; it may not exist.")]
ExportFormat = Annotated[ExportFormatName, typer.Option("--format", help="Of the model's file.")]


def export(
    project: ProjectOption,
    folder: ExportFolder,
    fmt: ExportFormat = ExportFormatName.ONNX,
    version: VersionName = None,
    connection: Connection = "default",
) -> None:
    """Write a version as a folder that runs without Apprentice (what is served, or VERSION)."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(f"{folder} is there already: name a new folder, or an empty one")
    with open_project(connection, project) as (store, connected):
        exported = _version(store, connected, version)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
        except OSError as error:
            raise CommandError(f"{folder} can't be written: {first_line(error)}") from None
        try:
            _write(store, connected, exported, fmt.value, scratch)
            scratch.chmod(0o755)
            scratch.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    typer.echo(f"{exported.name} is in {folder}: python {folder / 'infer.py'} IMAGE ...")


def _version(store: "Store", project: "Project", name: str | None) -> "Version":
    """The named version, or the served one without a name."""
    from services.versions.rollback import VersionError, named_version
    from store.versions.versions import get_version

    try:
        with store.database.read() as db:
            if name is not None:
                return named_version(db, project.id, name)
            served_id = project.served_version_id
            served = get_version(db, served_id) if served_id else None
    except VersionError as error:
        raise CommandError(str(error)) from None
    if served is None:
        raise CommandError("nothing is served yet: name a version")
    return served


def _write(store: "Store", project: "Project", version: "Version", fmt: str, folder: Path) -> None:
    """Write the version into the empty folder."""
    from model.backbones import (
        BackboneUnavailableError,
        UnknownBackboneError,
        build_module,
        get_backbone,
    )
    from services.embedding.backbones import BackboneError, backbone_folder, fetch_backbone
    from services.suggestions.predictor import Predictor
    from store.files.artifacts import ArtifactError
    from store.projects.embedding_spaces import backbone_of
    from studio.config import parse_label_config

    try:
        from model.exporting import ExportedControl, ExportError, export
    except ImportError as error:
        raise CommandError(
            f"{error}; exporting needs what the workers need: "
            "pip install 'label-studio-apprentice[worker,export]'"
        ) from error
    try:
        predictor = Predictor.load(store, version)
        folder_of_backbones = backbone_folder(store.settings)
        name = backbone_of(version.embedding_space)
        fetch_backbone(store, name)
        spec = get_backbone(name, folder_of_backbones)
        backbone = build_module(spec, folder_of_backbones)
    except (
        ArtifactError,
        BackboneError,
        BackboneUnavailableError,
        UnknownBackboneError,
        ModuleNotFoundError,
    ) as error:
        raise CommandError(f"{version.name} can't be exported: {error}") from error
    config = parse_label_config(project.label_config)
    learned = [(control, predictor.learned(control)) for control in config.controls]
    controls = [
        ExportedControl(control.name, head, control.schema)
        for control, head in learned
        if head is not None
    ]
    about = {
        "version": version.name,
        "project": project.title,
        "labels": version.labels,
        "metrics": {"accuracy": version.metrics.get("accuracy")},
        "artifact": version.artifact,
    }
    try:
        export(backbone, spec, controls, folder, fmt=fmt, about=about)
    except ExportError as error:
        raise CommandError(f"{version.name} can't be exported: {error}") from error

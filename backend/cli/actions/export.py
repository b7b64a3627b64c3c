"""`apprentice export`."""

import shutil
import tempfile
from pathlib import Path

import typer

from backend.cli.common import CommandError, first_line, open_project
from model.backbones import (
    BackboneUnavailableError,
    UnknownBackboneError,
    build_module,
    get_backbone,
)
from services.embedding.backbones import BackboneError, backbone_folder, fetch_backbone
from services.suggestions.predictor import Predictor
from services.versions.rollback import VersionError, named_version
from store.files.artifacts import ArtifactError
from store.projects.embedding_spaces import backbone_of
from store.projects.projects import Project
from store.store import Store
from store.versions.versions import Version, get_version
from studio.config import parse_label_config

_UNAVAILABLE = (
    ArtifactError,
    BackboneError,
    BackboneUnavailableError,
    UnknownBackboneError,
    ModuleNotFoundError,
)


def run(project: int, connection: str, name: str | None, fmt: str, folder: Path) -> None:
    """Write a version as a folder that runs without Apprentice."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(f"{folder} is there already: name a new folder, or an empty one")
    with open_project(connection, project) as (store, known):
        version = _version(store, known, name)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=".export-", dir=folder.parent))
        except OSError as error:
            raise CommandError(f"{folder} can't be written: {first_line(error)}") from None
        try:
            _export(store, known, version, fmt, scratch)
            scratch.chmod(0o755)
            scratch.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    typer.echo(f"{version.name} is in {folder}: python {folder / 'infer.py'} IMAGE ...")


def _version(store: Store, project: Project, name: str | None) -> Version:
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


def _export(store: Store, project: Project, version: Version, fmt: str, folder: Path) -> None:
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
    except _UNAVAILABLE as error:
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

"""Commands about versions: what was learned, which is served, and one to take away."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from backend.cli.options import AsJson, Connection, Project


class ExportFormatName(StrEnum):
    """What `export` can write."""

    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    SAFETENSORS = "safetensors"


VersionName = Annotated[
    str | None, typer.Argument(help='A version\'s name: "v3" or "apprentice v3".')
]
ExportFolder = Annotated[Path, typer.Option("--output", "-o", help="A folder; it may not exist.")]
ExportFormat = Annotated[ExportFormatName, typer.Option("--format", help="Of the model's file.")]


def add_to(app: typer.Typer) -> None:
    """Have the command line know these commands."""
    for command in (versions, rollback, promote, export):
        app.command()(command)


def versions(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """List what was learned: how good each version is, and what became of it."""
    from backend.cli.actions import versions as command

    command.run(project, connection, as_json=as_json)


def rollback(
    project: Project,
    version: VersionName = None,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Serve an earlier version again (the one before, or VERSION), and hold it there."""
    from backend.cli.actions import versions as command

    command.run_decision("rollback", project, connection, version, as_json=as_json)


def promote(
    project: Project,
    version: VersionName = None,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Serve a version whatever the gate said (the newest that waits, or VERSION); ends a hold."""
    from backend.cli.actions import versions as command

    command.run_decision("promote", project, connection, version, as_json=as_json)


def export(
    project: Project,
    folder: ExportFolder,
    fmt: ExportFormat = ExportFormatName.ONNX,
    version: VersionName = None,
    connection: Connection = "default",
) -> None:
    """Write a version as a folder that runs without Apprentice (what is served, or VERSION)."""
    from backend.cli.actions import export as command

    command.run(project, connection, version, fmt.value, folder)

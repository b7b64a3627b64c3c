"""`apprentice train`."""

import json
import time
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli.errors import CommandError
from backend.cli.options import AsJson, Connection
from backend.cli.options import Project as ProjectOption
from backend.cli.store_access import open_project

if TYPE_CHECKING:
    from services.versions.training_requests import Outcome, TrainingRequest
    from store.projects.projects import Project
    from store.store import Store

POLL_SECONDS = 0.25


class KindName(StrEnum):
    """The names of TrainingKind, whose module is slow to import."""

    HEAD = "head"
    FINETUNE = "finetune"


Kind = Annotated[KindName, typer.Option("--kind", help="Only the heads, or the backbone too.")]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Have this pretrained backbone from now on (or `default`, that of the settings).",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Until the version is published or refused.")]


def train(
    project: ProjectOption,
    kind: Kind = KindName.HEAD,
    backbone: BackboneName = None,
    wait: Wait = False,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """Learn now: heads in seconds, or the backbone too in minutes."""
    from services.versions.training_requests import Outcome, TrainingKind, request_training

    training = TrainingKind(kind.value)
    with open_project(connection, project) as (store, connected):
        named = None if backbone is None else _change_backbone(store, connected, backbone)
        request = store.database.write(lambda db: request_training(db, connected.id, training))
        request = replace(request, backbone=named)
        result = _follow(store, request, quiet=as_json) if wait else Outcome("queued", 0.0, "")
        if as_json:
            typer.echo(json.dumps(_as_json(store, connected, request, result), indent=2))
        else:
            typer.echo(_in_words(store, connected, request, result))
    if result.state in ("failed", "cancelled"):
        raise typer.Exit(1)


def _change_backbone(store: "Store", project: "Project", name: str) -> str:
    """Choose the project's backbone, and return its name."""
    from services.embedding.backbone_names import WrongBackboneError, check_backbone_name
    from services.versions.training_requests import change_backbone

    try:
        backbone = check_backbone_name(store.settings, name)
    except WrongBackboneError as error:
        raise CommandError(str(error), code=2) from None
    store.database.write(lambda db: change_backbone(db, project.id, backbone))
    return backbone or store.settings.backbone


def _follow(store: "Store", request: "TrainingRequest", *, quiet: bool) -> "Outcome":
    """Show a progress bar until the training has ended."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from services.versions.training_requests import outcome

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(request.kind.value, total=1.0)
        while True:
            with store.database.read() as db:
                result = outcome(db, request)
            bar.update(task, completed=result.progress, description=result.message)
            if result.state != "waiting":
                return result
            time.sleep(POLL_SECONDS)


def _newest(store: "Store", project: "Project") -> dict[str, Any] | None:
    from backend.views.versions import version_records

    with store.database.read() as db:
        records = version_records(db, project.id)
    return asdict(records[0]) if records else None


def _as_json(
    store: "Store", project: "Project", request: "TrainingRequest", result: "Outcome"
) -> dict[str, Any]:
    return {
        "project": project.ls_id,
        "kind": request.kind.value,
        "job": request.job,
        "state": result.state,
        "message": result.message,
        "version": _newest(store, project) if result.state == "finished" else None,
    }


def _in_words(
    store: "Store", project: "Project", request: "TrainingRequest", result: "Outcome"
) -> str:
    from store.versions.versions import START

    if result.state == "queued":
        return (
            f"{request.job} is on its way: `apprentice status --project {project.ls_id}` shows it."
        )
    if result.state != "finished":
        return f"{request.kind.value} {result.state}: {result.message}"
    version = _newest(store, project)
    if version is None or version["kind"] == START:
        return f"Nothing was learned: `apprentice status --project {project.ls_id}` says why."
    return f"{version['name']} ({version['kind']}) is {version['status']}: {version['verdict']}"

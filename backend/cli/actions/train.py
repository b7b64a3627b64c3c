"""`apprentice train` and `apprentice cancel`."""

import json
import time
from dataclasses import asdict, replace
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from backend.cli.common import CommandError, open_project
from backend.views.versions import version_records
from services.embedding.backbone_names import WrongBackboneError, check_backbone_name
from services.versions.training_requests import (
    Outcome,
    TrainingKind,
    Wish,
    cancel,
    change_backbone,
    outcome,
    wish_for,
)
from store.projects.projects import Project
from store.store import Store
from store.versions.versions import START

LOOK_SECONDS = 0.25


def run(
    project: int,
    connection: str,
    kind: TrainingKind,
    backbone: str | None,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Ask for training, and with `wait` stay until its version is published or refused."""
    with open_project(connection, project) as (store, known):
        named = None if backbone is None else _change_backbone(store, known, backbone)
        wish = store.database.write(lambda db: wish_for(db, known.id, kind))
        wish = replace(wish, backbone=named)
        found = _follow(store, wish, quiet=as_json) if wait else Outcome("queued", 0.0, "")
        if as_json:
            typer.echo(json.dumps(_as_json(store, known, wish, found), indent=2))
        else:
            typer.echo(_in_words(store, known, wish, found))
    if found.state in ("failed", "cancelled"):
        raise typer.Exit(1)


def run_cancel(project: int, connection: str, *, as_json: bool) -> None:
    """Stop the project's fine-tuning."""
    with open_project(connection, project) as (store, known):
        stopped = store.database.write(lambda db: cancel(db, known.id))
    if as_json:
        typer.echo(json.dumps({"project": project, "cancelled": stopped}))
    elif stopped:
        typer.echo(f"Stopped {' and '.join(stopped)} of project {project}.")
    else:
        typer.echo(f"Project {project} isn't being fine-tuned.")


def _change_backbone(store: Store, project: Project, name: str) -> str:
    try:
        backbone = check_backbone_name(store.settings, name)
    except WrongBackboneError as error:
        raise CommandError(str(error), code=2) from None
    store.database.write(lambda db: change_backbone(db, project.id, backbone))
    return backbone or store.settings.backbone


def _follow(store: Store, wish: Wish, *, quiet: bool) -> Outcome:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        shown = bar.add_task(wish.kind.value, total=1.0)
        while True:
            with store.database.read() as db:
                found = outcome(db, wish)
            bar.update(shown, completed=found.progress, description=found.message)
            if found.state != "waiting":
                return found
            time.sleep(LOOK_SECONDS)


def _newest(store: Store, project: Project) -> dict[str, Any] | None:
    with store.database.read() as db:
        records = version_records(db, project.id)
    return asdict(records[0]) if records else None


def _as_json(store: Store, project: Project, wish: Wish, found: Outcome) -> dict[str, Any]:
    return {
        "project": project.ls_id,
        "kind": wish.kind.value,
        "job": wish.job,
        "state": found.state,
        "message": found.message,
        "version": _newest(store, project) if found.state == "finished" else None,
    }


def _in_words(store: Store, project: Project, wish: Wish, found: Outcome) -> str:
    if found.state == "queued":
        return f"{wish.job} is on its way: `apprentice status --project {project.ls_id}` shows it."
    if found.state != "finished":
        return f"{wish.kind.value} {found.state}: {found.message}"
    version = _newest(store, project)
    if version is None or version["kind"] == START:
        return f"Nothing was learned: `apprentice status --project {project.ls_id}` says why."
    return f"{version['name']} ({version['kind']}) is {version['status']}: {version['verdict']}"

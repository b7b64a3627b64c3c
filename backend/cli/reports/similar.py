"""`apprentice similar`."""

import json
from dataclasses import asdict

import typer

from backend.cli.common import MOST_ID, CommandError, open_project
from services.embedding.similar_images import NotReadyError, similar


def run(project: int, connection: str, task: int, count: int, *, as_json: bool) -> None:
    """Print the tasks whose images look most like a task's."""
    with open_project(connection, project) as (store, known):
        if task > MOST_ID:
            raise CommandError(f"project {project} has no task {task}")
        try:
            found = similar(store, known, task, count)
        except NotReadyError as error:
            raise CommandError(str(error)) from None
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        typer.echo(f"{one.similarity:.4f}  task {one.task}")

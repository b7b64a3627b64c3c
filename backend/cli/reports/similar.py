"""`apprentice similar`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from backend.cli.errors import CommandError
from backend.cli.options import AsJson, Connection, Project
from backend.cli.store_access import MAX_ID, open_project

Task = Annotated[int, typer.Option("--task", "-t", help="Label Studio's task id.", min=1)]
Count = Annotated[int, typer.Option("--count", "-k", help="How many.", min=1, max=1000)]


def similar(
    project: Project,
    task: Task,
    count: Count = 10,
    connection: Connection = "default",
    as_json: AsJson = False,
) -> None:
    """List the tasks whose images look most like a task's."""
    from services.embedding import similar_images
    from store.tasks.units import TaskId

    with open_project(connection, project) as (store, connected):
        if task > MAX_ID:
            raise CommandError(f"project {project} has no task {task}")
        try:
            neighbours = similar_images.similar(store, connected, TaskId(task), count)
        except similar_images.NotReadyError as error:
            raise CommandError(str(error)) from None
    if as_json:
        typer.echo(json.dumps([asdict(neighbour) for neighbour in neighbours], indent=2))
        return
    for neighbour in neighbours:
        typer.echo(f"{neighbour.similarity:.4f}  task {neighbour.task}")

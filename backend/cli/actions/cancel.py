"""`apprentice cancel`."""

import json

import typer

from backend.cli.options import AsJson, Connection, Project
from backend.cli.store_access import open_project


def cancel(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """Stop a fine-tuning, or a training of guest models, that waits or runs."""
    from services.versions import training_requests

    with open_project(connection, project) as (store, connected):
        stopped = store.database.write(lambda db: training_requests.cancel(db, connected.id))
    if as_json:
        typer.echo(json.dumps({"project": project, "cancelled": stopped}))
    elif stopped:
        typer.echo(f"Stopped {' and '.join(stopped)} of project {project}.")
    else:
        typer.echo(f"Project {project} isn't being fine-tuned, nor are its guest models trained.")

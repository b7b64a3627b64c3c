"""`apprentice apply`."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import typer

from backend.cli.common import CommandError, new_file, open_project
from services.suggestions.bulk_labelling import Applied, ApplyError, apply
from store.projects.projects import Project
from store.store import Store
from store.versions.label_reviews import Plain

FIELDS = ("task", "source", "version", "confidence", "reason")


def run(project: int, connection: str, least: float | None, fmt: str, out: Path | None) -> None:
    """Label all the rest, and write down what every task's label is."""
    with open_project(connection, project) as (store, known):
        if out is None:
            applied = _apply(store, known, least)
            typer.echo(_text(applied, fmt), nl=False)
        else:
            with new_file(out) as file:
                applied = _apply(store, known, least)
                file.write_text(_text(applied, fmt), newline="")
    typer.echo(_said(applied, out), err=out is None)


def _apply(store: Store, project: Project, least: float | None) -> Applied:
    try:
        return apply(store, project, least)
    except ApplyError as error:
        raise CommandError(str(error)) from None


def _text(applied: Applied, fmt: str) -> str:
    if fmt == "csv":
        return _csv(applied)
    return json.dumps(list(map(asdict, applied.rows)), indent=1) + "\n"


def _said(applied: Applied, out: Path | None) -> str:
    counts = Counter(row.source for row in applied.rows)
    parts = ", ".join(f"{count} {source}" for source, count in counts.most_common())
    there = f" in {out}" if out is not None else ""
    going = f"; {applied.pushing} predictions are on their way to Label Studio"
    tasks = len({row.task for row in applied.rows})
    images = f", {len(applied.rows)} lines" if len(applied.rows) > tasks else ""
    return f"{applied.version}: {tasks} tasks{images}{there}: {parts}{going}"


def _csv(applied: Applied) -> str:
    """One line a task, or an image of a task with several, numbered from 0.

    A control's column has its label, several classes joined by "; ".
    """
    fields: tuple[str, ...] = FIELDS
    if any(row.image is not None for row in applied.rows):
        fields = ("task", "image", *FIELDS[1:])
    columns = [f"label:{name}" if name in fields else name for name in applied.controls]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*fields, *columns])
    for row in applied.rows:
        plain = [getattr(row, name) for name in fields]
        writer.writerow([*plain, *(_cell(row.labels, name) for name in applied.controls)])
    return file.getvalue()


def _cell(labels: Mapping[str, Plain], name: str) -> str | float:
    label = labels.get(name, "")
    return "; ".join(label) if isinstance(label, list) else label

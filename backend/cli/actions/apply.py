"""`apprentice apply`."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.errors import CommandError
from backend.cli.options import Connection
from backend.cli.options import Project as ProjectOption
from backend.cli.output import new_file
from backend.cli.store_access import open_project

if TYPE_CHECKING:
    from services.suggestions.bulk_labelling import Applied
    from store.projects.projects import Project
    from store.store import Store
    from store.versions.label_reviews import Plain

FIELDS = ("task", "source", "version", "confidence", "reason")


class TableFormat(StrEnum):
    """The file formats that `apply` writes."""

    CSV = "csv"
    JSON = "json"


MinConfidence = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        help="Less sure suggestions are left out; by default those of the settings.",
        min=0,
        max=1,
    ),
]
Format = Annotated[TableFormat, typer.Option("--format", help="Of the file.")]
OutFile = Annotated[
    Path | None, typer.Option("--out", "-o", help="The file; by default standard output.")
]


def apply(
    project: ProjectOption,
    min_confidence: MinConfidence = None,
    fmt: Format = TableFormat.CSV,
    out: OutFile = None,
    connection: Connection = "default",
) -> None:
    """Label all the rest: suggestions for every task, to Label Studio and into a file."""
    with open_project(connection, project) as (store, connected):
        if out is None:
            applied = _apply(store, connected, min_confidence)
            typer.echo(_table(applied, fmt), nl=False)
        else:
            with new_file(out) as file:
                applied = _apply(store, connected, min_confidence)
                file.write_text(_table(applied, fmt), newline="")
    typer.echo(_summary(applied, out), err=out is None)


def _apply(store: "Store", project: "Project", min_confidence: float | None) -> "Applied":
    from services.suggestions import bulk_labelling

    try:
        return bulk_labelling.apply(store, project, min_confidence)
    except bulk_labelling.ApplyError as error:
        raise CommandError(str(error)) from None


def _table(applied: "Applied", fmt: TableFormat) -> str:
    if fmt is TableFormat.CSV:
        return _csv(applied)
    return json.dumps(list(map(asdict, applied.rows)), indent=1) + "\n"


def _summary(applied: "Applied", out: Path | None) -> str:
    counts = Counter(row.source for row in applied.rows)
    parts = ", ".join(f"{count} {source}" for source, count in counts.most_common())
    where = f" in {out}" if out is not None else ""
    pushed = f"; {applied.pushing} predictions are on their way to Label Studio"
    tasks = len({row.task for row in applied.rows})
    images = f", {len(applied.rows)} lines" if len(applied.rows) > tasks else ""
    return f"{applied.version}: {tasks} tasks{images}{where}: {parts}{pushed}"


def _csv(applied: "Applied") -> str:
    """A CSV table with a line for each task, or for each image of a task with several.

    Images are numbered from 0. A control's column has its label, several classes joined by "; ".
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


def _cell(labels: Mapping[str, "Plain"], name: str) -> str | float:
    label = labels.get(name, "")
    return "; ".join(label) if isinstance(label, list) else label

"""`apprentice labels`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from backend.cli.options import AsJson, Connection, Project
from backend.cli.output import plain_table
from backend.cli.store_access import open_project

if TYPE_CHECKING:
    from rich.table import Table

    from store.versions.label_reviews import (
        ContestedLabel,
        Plain,
        Rating,
        Review,
        SuspiciousLabel,
    )

SHOWN = 20  # labels of each list; all of them as JSON


def labels(project: Project, connection: Connection = "default", as_json: AsJson = False) -> None:
    """Show how good each annotator's labels are, and which labels to look at again."""
    from store.versions.label_reviews import get_review

    with open_project(connection, project) as (store, connected), store.database.read() as db:
        review = get_review(db, connected.id)
    if as_json:
        typer.echo(json.dumps(asdict(review), indent=2))
    elif review.at is None:
        typer.echo("Nothing is known yet: labels are looked at when a version is learned.")
    else:
        _show(Console(highlight=False), review)


def _show(console: Console, review: "Review") -> None:
    console.print("Annotators, the worst first", style="bold")
    console.print(_annotators(review.annotators))
    console.print(f"\nProbably wrong: {len(review.suspicious)}", style="bold")
    if review.suspicious:
        console.print(_suspicious(review.suspicious[:SHOWN]))
    console.print(f"\nAnnotators disagree: {len(review.contested)}", style="bold")
    if review.contested:
        console.print(_contested(review.contested[:SHOWN]))


def _annotators(ratings: Sequence["Rating"]) -> "Table":
    table = plain_table(
        "annotator", "control", "labels", "shared", "agreement", "as expected", "quality"
    )
    for rating in ratings:
        table.add_row(
            _annotator(rating.annotator),
            escape(rating.control),
            str(rating.labels),
            str(rating.shared),
            _share(rating.agreement),
            _share(rating.expected),
            _share(rating.quality),
        )
    return table


def _suspicious(labels: Sequence["SuspiciousLabel"]) -> "Table":
    table = plain_table("task", "control", "given", "by", "rather", "quality")
    for label in labels:
        table.add_row(
            _task(label.task, label.item),
            escape(label.control),
            _label(label.given),
            _annotator(label.annotator),
            _label(label.likely),
            f"{label.quality:.2%}",
        )
    return table


def _contested(labels: Sequence["ContestedLabel"]) -> "Table":
    table = plain_table("task", "control", "given", "rather", "quality")
    for label in labels:
        sides = [
            f"{_label(one.label)} ({', '.join(map(_annotator, one.annotators))})"
            for one in label.opinions
        ]
        table.add_row(
            _task(label.task, label.item),
            escape(label.control),
            "; ".join(sides),
            _label(label.likely),
            _share(label.quality),
        )
    return table


def _task(task: int, item: int) -> str:
    return f"{task}, image {item + 1}" if item > 0 else str(task)


def _annotator(annotator: int | None) -> str:
    return "unknown" if annotator is None else str(annotator)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _label(label: "Plain") -> str:
    if isinstance(label, list):
        return escape(", ".join(label)) or "none"
    return escape(f"{label:g}" if isinstance(label, float) else label)

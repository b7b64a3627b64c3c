"""`apprentice status`."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from backend.cli.options import AsJson, Connection
from backend.cli.output import escape_markup, grid
from backend.cli.store_access import (
    load_settings,
    open_store,
    require_database,
    require_project,
)
from store.work.work_kind import GUEST_WORK, WorkKind

if TYPE_CHECKING:
    from backend.views.guests import ProjectGuest
    from backend.views.status import MoveStatus, Status, SystemStatus
    from model.statistics.intervals import Estimate
    from services.guests.state import GuestStatus
    from worker.queues.worker_registry import WorkerInfo

OneProject = Annotated[
    int | None, typer.Option("--project", "-p", help="Only this Label Studio project id.", min=1)
]


def status(
    project: OneProject = None, connection: Connection = "default", as_json: AsJson = False
) -> None:
    """Show what is learned, served and running."""
    from backend.views.status import project_status, system_status

    settings = load_settings()
    require_database(settings)
    with open_store(settings, migrate=False) as store:
        if project is None:
            system = system_status(store)
            if as_json:
                typer.echo(json.dumps(_system_json(system), indent=2))
            else:
                _show_system(system)
            return
        shown = project_status(store, require_project(store, connection, project))
    if as_json:
        typer.echo(json.dumps(asdict(shown), indent=2))
    else:
        console = Console(highlight=False)
        _show_project(console, shown)
        _show_workers(console, shown.workers)


def _system_json(system: "SystemStatus") -> dict[str, object]:
    plain = asdict(system)
    counts = [
        {"kind": kind, "state": state, "count": count}
        for (kind, state), count in sorted(system.job_counts.items())
    ]
    return plain | {"job_counts": counts}


def _show_system(system: "SystemStatus") -> None:
    from backend.views.inbox import OLD_SECONDS, inbox_in_words

    console = Console(highlight=False)
    if not system.connections:
        console.print(
            "No Label Studio is connected: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, then "
            "`apprentice connect --project ID`."
        )
    elif not system.projects:
        console.print("No project is connected: `apprentice connect --project ID`.")
    for status in system.projects:
        _show_project(console, status)
        console.print()
    if not system.broker:
        console.print("The broker doesn't answer: is `apprentice up` running?", style="bold red")
    if system.inbox.oldest_seconds > OLD_SECONDS or system.inbox.rejected:
        console.print(inbox_in_words(system.inbox), style="bold red")
    _show_guests(console, system.guests)
    _show_workers(console, system.workers)


def _show_guests(console: Console, guests: "tuple[GuestStatus, ...]") -> None:
    from backend.views.guests import guest_in_words

    for guest in guests:
        line = f"Guest {guest.name}: {guest_in_words(guest)}"
        console.print(line, style="yellow" if guest.reason else None, markup=False, soft_wrap=True)


def _show_project(console: Console, status: "Status") -> None:
    from services.reports.ledger_summary import suggestions_in_words

    title = f"Project {status.project} {status.title!r}"
    if status.connection != "default":
        title += f" of {status.connection}"
    console.print(title, style="bold", markup=False)
    lines = grid()
    images = f"{status.images} images, " if status.images > status.tasks else ""
    embedded = f"{images}{status.embedded} read"
    broken = f", {status.broken} can't be used" if status.broken else ""
    lines.add_row("  tasks", f"{status.tasks} ({embedded}{broken})")
    lines.add_row("  labels", str(status.labels))
    promote = f"`apprentice promote --project {status.project}`"
    held = f", pinned: newer ones wait for {promote}" if status.held else ""
    lines.add_row("  version", f"{status.version or 'none'}{held}")
    lines.add_row("  accuracy", _accuracy(status.accuracy))
    if status.moving is not None:
        lines.add_row("  moving to", escape_markup(_moving(status.moving, status.images)))
    if status.reason:
        lines.add_row("  no suggestion", f"[yellow]because {escape_markup(status.reason)}[/]")
    for problem in status.problems:
        lines.add_row(f"  {problem.subject}", f"[yellow]{escape_markup(problem.sentence)}[/]")
    for guest in status.guests:
        lines.add_row("  guest", escape_markup(_guest(guest)))
    for left_out in status.not_learned:
        lines.add_row("  not learned", escape_markup(left_out))
    lines.add_row("  chosen next", f"{status.shortlist} tasks")
    if status.suggestions is not None:
        lines.add_row("  suggestions", escape_markup(suggestions_in_words(status.suggestions)))
    if status.owed:
        lines.add_row(
            "  owed", f"{status.owed} tasks got no whole prediction yet, and wait for the rest"
        )
    if status.reconciled_at is not None:
        ago = time.time() - status.reconciled_at
        lines.add_row("  reconciled", f"{ago:.0f} s ago")
    if status.connectivity is not None:
        lines.add_row("  connection", escape_markup(status.connectivity.in_words))
    console.print(lines)
    for sentence in status.advice:
        console.print(f"  {escape_markup(sentence)}", soft_wrap=True)
    _show_jobs(console, status)


def _show_jobs(console: Console, status: "Status") -> None:
    from rich.progress_bar import ProgressBar

    table = grid()
    for job in status.jobs:
        bar = ProgressBar(total=1.0, completed=job.progress, width=20)
        table.add_row(f"  {job.kind}", job.state, bar, escape_markup(job.message))
    under_way = {job.kind for job in status.jobs}
    for waiting in status.waiting:
        if waiting.kind in under_way:
            continue
        why = f"[red]{escape_markup(waiting.error)}[/]" if waiting.error else ""
        if waiting.next_try_at is not None:
            why += f" again in {max(waiting.next_try_at - time.time(), 0):.0f} s"
        table.add_row(f"  {waiting.kind}", "waiting", "", why)
    if table.row_count:
        console.print(table)
    for error in status.errors[:3]:
        ago = time.time() - error.at
        line = f"  [red]{ago:.0f} s ago[/] {error.source}: {escape_markup(error.message)}"
        console.print(line, soft_wrap=True)


def _show_workers(console: Console, workers: "tuple[WorkerInfo, ...]") -> None:
    by_queue = []
    for queue in WorkKind:
        here = [worker for worker in workers if worker.queue == queue]
        if queue in GUEST_WORK and not here:
            continue
        busy = sum(worker.busy for worker in here)
        by_queue.append(f"{queue} {len(here)}" + (f" ({busy} busy)" if busy else ""))
    console.print("Workers: " + ", ".join(by_queue))


def _guest(guest: "ProjectGuest") -> str:
    version = f" {guest.version}" if guest.version else ", being loaded"
    controls = f", for {', '.join(guest.controls)}" if guest.controls else ""
    ago = f", trained {time.time() - guest.trained_at:.0f} s ago" if guest.trained_at else ""
    return f"{guest.name}{version}{controls}{ago}"


def _accuracy(accuracy: "Estimate | None") -> str:
    if accuracy is None:
        return "not known yet"
    return (
        f"{accuracy.value:.1%} (95% interval {accuracy.low:.1%} to {accuracy.high:.1%}, "
        f"{accuracy.n} labels)"
    )


def _moving(moving: "MoveStatus", images: int) -> str:
    if moving.error is not None:
        return f"{moving.backbone}, which can't be used: {moving.error}"
    return f"{moving.backbone} ({moving.embedded} of {images} images embedded)"

"""A stock Label Studio, which can't call Apprentice: changes are polled, suggestions pushed."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.demo.run import DemoSession
from backend.demo.textiles import TEXTILES
from services.connections.reach import Mode, read_connectivity
from store.tasks.annotations import current_annotations
from store.tasks.tasks import list_tasks
from tests.support.e2e import doubled_predictions, shortlist, shown_version, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

LABELS = 16


@pytest.fixture(scope="module")
def stock(
    environment: Path, empty_label_studio: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DemoSession]:
    """A demo whose Label Studio has its address guards on, as by default."""
    home = tmp_path_factory.mktemp("stock")
    shutil.copytree(empty_label_studio, home / "label-studio")
    settings = {
        "APPRENTICE_MIN_CONFIDENCE": "0",
        "APPRENTICE_BLIND_SHARE": "0",
        "APPRENTICE_FINETUNE": "manual",
        "APPRENTICE_RECONCILE_SECONDS": "3600",  # what is noticed, was polled
    }
    with DemoSession(
        home, environment, dataset=TEXTILES, images=60, stock=True, settings=settings
    ) as running:
        yield running


def mode(session: DemoSession) -> Mode | None:
    with session.store.database.read() as db:
        found = read_connectivity(db, session.project.id, time.time())
    return found.mode if found else None


def test_it_is_connected_though_it_takes_neither_backend_nor_webhook(stock: DemoSession) -> None:
    assert mode(stock) is Mode.OUTBOUND
    assert stock.studio.backends(stock.project.ls_id) == []
    assert stock.studio.webhooks(stock.project.ls_id) == []
    assert shown_version(stock) == "apprentice v0"


def test_the_stream_serves_what_was_chosen_in_order_and_labels_become_suggestions(
    stock: DemoSession,
) -> None:
    chosen = shortlist(stock)
    labelled = stock.label(2)
    assert [item.task for item in labelled] == chosen[:2]
    stock.label(LABELS - 2)
    wait_until(lambda: stock.labels == LABELS, "all labels are known")
    stock.wait_until_learned(LABELS)
    served = stock.served
    assert served is not None
    assert served.number > 0
    wait_until(lambda: shown_version(stock) == served.name, "the served version is shown")
    assert any(item.suggested is not None for item in stock.label(3))
    assert doubled_predictions(stock) == {}


def test_edits_and_deletions_are_noticed(stock: DemoSession) -> None:
    studio, project = stock.studio, stock.project
    wait_until(lambda: stock.labels == LABELS + 3, "the last labels are known")
    annotated = [t for t in studio.changed_tasks(project.ls_id, None) if t.annotations]
    edited, *deleted = annotated[:6]
    (annotation,) = edited.annotations
    other = next(
        t.annotations[0].result for t in annotated if t.annotations[0].result != annotation.result
    )
    studio.edit_annotation(annotation.id, other)
    for task in deleted:
        studio.delete_annotation(task.annotations[0].id)
    studio.delete_task(deleted[-1].id)
    wait_until(lambda: stock.labels == LABELS + 3 - 5, "the deleted labels are noticed")

    def is_edited() -> bool:
        with stock.store.database.read() as db:
            rows = current_annotations(db, project.id)
        return any(
            row.ls_id == annotation.id and row.updated_at > annotation.updated_at.timestamp()
            for row in rows
        )

    wait_until(is_edited, "the edited label is noticed")

    def is_gone() -> bool:
        with stock.store.database.read() as db:
            return len(list_tasks(db, project.id)) == 59

    wait_until(is_gone, "the deleted task is noticed")


def test_the_mode_changes_by_itself_when_label_studio_may_call(stock: DemoSession) -> None:
    stock.label_studio.stop()
    stock.label_studio.stock = False
    stock.label_studio.start()
    wait_until(lambda: mode(stock) is Mode.INBOUND, "it is called", 120)
    (webhook,) = stock.studio.webhooks(stock.project.ls_id)
    assert webhook.id == stock.project.webhook_id
    wait_until(lambda: shown_version(stock).startswith("apprentice v"), "its title is replaced")

"""What learn chooses: by the strategy that is set, from what is known of all controls."""

import json
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from backend.cli.errors import CommandError
from backend.cli.reports.simulate import simulate
from model.selection import ShortlistRequest
from services.selection.pool import POOL, pool_of, task_pool
from services.selection.shortlist import choose, strategy_of
from services.snapshot import take_snapshot
from services.suggestions.predictor import Predictor
from store.database.schema import selection
from store.predictions.shortlists import Choice
from store.versions.versions import newest_version
from tests.support.workbench import Workbench


def chosen(bench: Workbench) -> dict[int, str]:
    """{task: strategy} of the newest shortlist."""
    newest = select(func.max(selection.c.version_id)).scalar_subquery()
    listed = select(selection.c.task_ls_id, selection.c.strategy)
    with bench.store.database.read() as db:
        rows = db.execute(listed.where(selection.c.version_id == newest)).all()
    return {row.task_ls_id: row.strategy for row in rows}


def learned(bench: Workbench) -> Predictor:
    for name in ("cat", "dog", "fox"):
        bench.annotate(bench.tasks_of(name, 8))
    bench.run("learn")
    with bench.store.database.read() as db:
        version = newest_version(db, bench.project_id)
    assert version is not None
    return Predictor.load(bench.store, version)


def test_the_first_labels_change_how_the_next_are_chosen(workbench: Workbench) -> None:
    workbench.run("learn")
    assert set(chosen(workbench).values()) == {"kmeans"}

    learned(workbench)
    assert set(chosen(workbench).values()) == {"herding", "random"}


def test_another_strategy_can_be_set_and_a_wrong_name_is_said(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = workbench.store.settings
    assert strategy_of(settings.model_copy(update={"strategy": "bait"})) == ("bait", None)

    wrong, complaint = strategy_of(settings.model_copy(update={"strategy": "margn"}))
    assert wrong == "auto"
    assert complaint is not None
    assert complaint.startswith("APPRENTICE_STRATEGY: ")
    assert "margin" in complaint

    monkeypatch.setenv("APPRENTICE_STRATEGY", "margn")
    workbench.run("learn")
    assert workbench.project.reason == f"{complaint}; kind: no label yet"
    assert chosen(workbench)


def test_a_list_can_be_all_random_and_keeps_what_was_drawn(workbench: Workbench) -> None:
    predictor = learned(workbench)
    now = take_snapshot(workbench.store, workbench.project_id)
    pool = task_pool(workbench.store, now, predictor, "kind", seed=0)
    waiting = {pool.tasks[3]: 0.125, 999_999: 0.5}

    def chosen(share: float) -> list[Choice]:
        return choose(pool, ShortlistRequest(20, random_share=share, drawn_before=waiting))

    assert pool.images.labelled.shape == (24, 32)
    usual, at_random = chosen(0.1), chosen(1.0)
    assert {choice.strategy for choice in usual} == {"herding", "random"}
    assert {choice.strategy for choice in at_random} == {"random"}
    for choices in (usual, at_random):
        assert Choice(pool.tasks[3], "random", 0.125) in choices


def test_the_chance_of_an_audited_task_counts_how_it_came_into_the_pool(
    workbench: Workbench,
) -> None:
    predictor = learned(workbench)
    x = np.random.default_rng(0).normal(size=(200, 32)).astype(np.float16)
    pool = pool_of(list(range(200)), x, [predictor.heads["kind"]], seed=0, share=0.25)
    picks = choose(pool, ShortlistRequest(40))
    audited = [pick.probability for pick in picks if pick.strategy == "random"]

    assert POOL > 200
    assert audited == [0.25 * 4 / 200] * 4


def test_a_labelled_project_can_be_replayed(
    workbench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "curves.json"
    with pytest.raises(CommandError, match="no control"):
        simulate(project=1, batch=6, rounds=3, seeds=2, out=out)

    workbench.annotate({task: name for task, name in workbench.truth.items() if task <= 60})
    simulate(project=1, batch=6, rounds=3, seeds=2, out=out)
    found = json.loads(out.read_text())

    assert (found["pool"], found["test"], found["classes"], found["batch"]) == (45, 15, 3, 6)
    assert [(c["strategy"], c["seed"]) for c in found["curves"]] == [
        ("auto", 0),
        ("random", 0),
        ("auto", 1),
        ("random", 1),
    ]
    for curve in found["curves"]:
        assert [done["labels"] for done in curve["rounds"]] == [6, 12, 18]
        assert all(0 <= done["accuracy"] <= 1 for done in curve["rounds"])
        assert all(done["query_seconds"] >= 0 for done in curve["rounds"])
    assert "auto" in capsys.readouterr().out

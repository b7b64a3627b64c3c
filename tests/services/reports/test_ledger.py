"""The ledger: what became of suggestions, by what people saw, said, and took of time."""

import numpy as np
import pytest

from services.reports.ledger import Ledger, read_ledger
from services.reports.ledger_summary import SUMMARY, Summary, stored_summary, suggestions_in_words
from services.suggestions.control_group import in_control_group
from store.predictions.publications import (
    PredictionItem,
    latest_predictions,
    next_chunk,
    pending_publications,
    predicted_tasks,
    save_predictions,
)
from store.predictions.shortlists import get_shortlist
from store.predictions.shown import delete_predictions, suggestions_by_task
from store.projects.projects import change_project
from store.tasks.accept_marks import marked
from store.tasks.annotations import AnnotationRecord, save_annotations
from store.versions.versions import Version
from tests.support.versions import plain_version
from tests.support.workbench import Workbench, region


def cat(name: str = "cat") -> list[dict[str, object]]:
    return [region("kind", "choices", [name])]


class Story:
    """What happened in a project: predictions that were given, annotations that were made."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.version = self.new_version()

    def new_version(self) -> Version:
        return self.bench.store.database.write(
            lambda db: plain_version(db, self.bench.project_id, labels=0)
        )

    def give(self, task: int, shown: list, withheld: list | None = None) -> None:
        item = PredictionItem(task, 0.1, shown, withheld)
        self.bench.store.database.write(
            lambda db: save_predictions(
                db, self.bench.project_id, self.version.id, [item], "pushed"
            )
        )

    def annotate(
        self,
        task: int,
        result: list,
        *,
        parent: int | None = None,
        seconds: float | None = None,
        by: int | None = None,
        at: float = 4e9,  # after whatever was given
        changed: float | None = None,
    ) -> None:
        record = AnnotationRecord(
            ls_id=task,
            task_ls_id=task,
            created_at=at,
            updated_at=at if changed is None else changed,
            result=result,
            completed_by=by,
            lead_time=seconds,
            parent_prediction=parent,
        )
        self.bench.store.database.write(
            lambda db: save_annotations(db, self.bench.project_id, [record])
        )

    def ledger(self) -> Ledger:
        with self.bench.store.database.read() as db:
            return read_ledger(db, self.bench.project)


@pytest.fixture
def story(workbench: Workbench) -> Story:
    return Story(workbench)


def test_without_annotations_the_ledger_is_empty(story: Story) -> None:
    ledger = story.ledger()
    assert (ledger.annotations, ledger.total.suggested, ledger.classes) == (0, 0, [])
    assert ledger.sway is ledger.total.pace is ledger.seconds_saved is None


def test_a_suggestion_is_kept_or_rejected_by_class_and_annotator(story: Story) -> None:
    for task, said, by in ((1, "cat", 7), (2, "cat", 7), (3, "dog", 8)):
        story.give(task, cat())
        story.annotate(task, cat(said), parent=50 + task, by=by)
    ledger = story.ledger()
    assert (ledger.total.kept, ledger.total.edited, ledger.total.rejected) == (2, 0, 1)
    by_annotator = {one.annotator: one.tally for one in ledger.annotators}
    assert (by_annotator[7].kept, by_annotator[8].rejected) == (2, 1)
    by_class = {one.name: (one.suggested, one.kept) for one in ledger.classes}
    assert by_class == {"cat": (3, 2), "dog": (0, 0)}


def test_of_several_controls_a_part_that_is_left_is_an_edit(story: Story) -> None:
    story.bench.configure(
        '<Choices name="kind" toName="image"><Choice value="cat"/><Choice value="dog"/></Choices>'
        '<Rating name="stars" toName="image" maxRating="5"/>'
    )
    shown = [*cat(), region("stars", "rating", 3)]
    said = {
        1: [*cat(), region("stars", "rating", 3)],
        2: [*cat("dog"), region("stars", "rating", 3)],
        3: [*cat(), region("stars", "rating", 4)],
        4: cat("dog"),
    }
    for task, result in said.items():
        story.give(task, shown)
        story.annotate(task, result, parent=task)
    total = story.ledger().total
    assert (total.kept, total.edited, total.rejected) == (1, 2, 1)


def test_what_was_not_prefilled_or_empty_is_no_suggestion(story: Story) -> None:
    story.give(1, cat())
    story.annotate(1, cat())  # drawn anew: nothing was taken over
    story.give(2, [])
    story.annotate(2, cat(), parent=52)
    story.annotate(3, cat(), parent=53)  # of somebody else's model
    ledger = story.ledger()
    assert (ledger.annotations, ledger.total.suggested) == (3, 0)


def test_the_version_counts_that_the_task_showed_when_it_was_opened(story: Story) -> None:
    story.give(1, cat("dog"))
    with story.bench.store.database.read() as db:
        (given,) = suggestions_by_task(db, story.bench.project_id)[1]
    story.version = story.new_version()
    story.annotate(1, cat("dog"), parent=5, seconds=60, at=given.at + 30)
    # Opened 30 s before anything was given: it can't have been pre-filled by us.
    assert story.ledger().total.suggested == 0
    story.annotate(1, cat("dog"), parent=5, seconds=20, at=given.at + 31)
    story.give(1, cat("fox"))
    with story.bench.store.database.read() as db:
        newer = suggestions_by_task(db, story.bench.project_id)[1][-1]
    assert newer.at >= given.at
    story.annotate(1, cat("fox"), parent=5, seconds=1, at=newer.at + 100)
    assert story.ledger().total.kept == 1


def test_what_is_corrected_later_was_opened_when_it_was(story: Story) -> None:
    story.give(1, cat("dog"))
    with story.bench.store.database.read() as db:
        (given,) = suggestions_by_task(db, story.bench.project_id)[1]
    made = given.at + 30
    story.annotate(1, cat("dog"), parent=5, seconds=10, at=made)
    story.annotate(1, cat(), parent=5, seconds=10 + 60, at=made, changed=made + 4_000)
    assert story.ledger().total.rejected == 1
    assert story.ledger().total.suggested == 1


def test_an_accepted_suggestion_that_a_person_confirms_is_no_blind_answer(story: Story) -> None:
    story.give(1, [], cat())
    story.annotate(1, marked(cat()), seconds=1, at=4e9, changed=4e9 + 600)
    story.give(2, [], cat())
    story.annotate(2, cat(), seconds=9)
    ledger = story.ledger()
    assert (ledger.annotations, ledger.blind) == (2, 1)


def test_predictions_that_leave_label_studio_stay_in_the_ledger(story: Story) -> None:
    story.give(1, cat())
    story.annotate(1, cat(), parent=51)
    story.give(2, [], cat())
    story.annotate(2, cat())
    story.give(3, cat())
    before = story.ledger()
    assert (before.total.kept, before.blind) == (1, 1)
    version, project_id = story.version.id, story.bench.project_id
    story.bench.store.database.write(lambda db: delete_predictions(db, version, [1, 2, 3], {1, 2}))
    assert story.ledger() == before
    with story.bench.store.database.read() as db:
        assert predicted_tasks(db, project_id, version) == set()
        assert latest_predictions(db, project_id) == {}
        assert set(suggestions_by_task(db, project_id)) == {1, 2}
    story.give(1, cat())  # it is served again
    with story.bench.store.database.read() as db:
        assert predicted_tasks(db, project_id, version) == {1}


def test_time_is_compared_with_blind_tasks_and_slow_classes_are_named(story: Story) -> None:
    rng = np.random.default_rng(0)
    tasks = iter(range(1, 241))
    for name, helped, alone in (("cat", 2.0, 6.0), ("dog", 12.0, 4.0)):
        for _ in range(20):
            task = next(tasks)
            story.give(task, cat(name))
            story.annotate(task, cat(name), parent=task, seconds=helped * rng.uniform(0.8, 1.25))
        for _ in range(8):
            task = next(tasks)
            story.give(task, [], cat(name))
            story.annotate(task, cat(name), seconds=alone * rng.uniform(0.8, 1.25))
    story.annotate(next(tasks), cat("fox"), seconds=7_200)  # a break says nothing
    ledger = story.ledger()
    paces = {one.name: one.pace for one in ledger.classes}
    assert paces["cat"].against == "blind"
    assert paces["cat"].saved.low < 4 < paces["cat"].saved.high
    assert paces["cat"].saved.low > 0
    assert paces["fox"] is None
    assert [one.name for one in ledger.slow] == ["dog"]
    assert ledger.blind == 16
    assert ledger.seconds_saved == pytest.approx(40 * ledger.total.pace.saved.value)


def test_how_suggestions_sway_people_is_measured_on_blind_tasks(story: Story) -> None:
    for task in range(1, 41):
        story.give(task, cat())
        story.annotate(task, cat(), parent=task)
    for task in range(41, 81):
        story.give(task, [], cat())
        story.annotate(task, cat("cat" if task % 2 else "dog"))
    sway = story.ledger().sway
    assert (sway.shown.value, sway.blind.value, sway.difference.value) == (1.0, 0.5, 0.5)
    assert 0.2 < sway.difference.low < sway.difference.high < 0.8


def test_blind_tasks_are_drawn_evenly_and_for_good(workbench: Workbench) -> None:
    project = workbench.project
    blind = {task for task in range(20_000) if in_control_group(project, task, 0.05)}
    assert 850 < len(blind) < 1150
    assert blind < {task for task in range(20_000) if in_control_group(project, task, 0.1)}
    assert not any(in_control_group(project, task, 0) for task in range(1000))
    assert all(in_control_group(project, task, 1) for task in range(1000))


def test_a_version_withholds_what_blind_tasks_would_show_and_keeps_their_order(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_BLIND_SHARE", "0.3")
    labels = {
        t: n for name in ("cat", "dog", "fox") for t, n in workbench.tasks_of(name, 15).items()
    }
    workbench.annotate(labels)
    workbench.run("learn")
    with workbench.store.database.read() as db:
        publications = pending_publications(db, workbench.project_id)
        items = [item for one in publications for item in next_chunk(db, one.id).items]
        order = get_shortlist(db, workbench.project_id)
    assert [item.task for item in sorted(items, key=lambda item: item.score)][: len(order)] == order
    blind = {item.task for item in items if in_control_group(workbench.project, item.task, 0.3)}
    assert blind == {item.task for item in items if item.withheld is not None}
    assert 5 < len(blind) < 25
    for item in items:
        assert bool(item.result) != (item.task in blind)
        assert (item.withheld or item.result)[0]["value"]["choices"]


def test_a_learning_keeps_the_ledger_for_the_status_page(story: Story) -> None:
    story.bench.run("learn")
    with story.bench.store.database.read() as db:
        assert stored_summary(db, story.bench.project_id) is None
        assert SUMMARY.of(story.bench.project_id).get(db) is not None
    for task in range(1, 9):
        story.give(task, cat())
        story.annotate(task, cat("cat" if task > 2 else "dog"), parent=task, seconds=3)
        story.annotate(task + 20, cat(), seconds=5 + task / 10)
    story.bench.store.database.write(
        lambda db: change_project(db, story.bench.project_id, reason=None)
    )
    story.bench.run("learn")
    with story.bench.store.database.read() as db:
        found = stored_summary(db, story.bench.project_id)
    assert found is not None
    words = suggestions_in_words(found)
    assert words.startswith(
        "75% kept, 0% edited, 25% rejected of 8; 2.4 s faster than tasks without"
    )


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (0.04, "; as fast as the control group (+0.0 to +0.1 s saved)"),
        (-0.04, "; as fast as the control group (-0.1 to +0.0 s saved)"),
        (0.06, "; 0.1 s faster than the control group (+0.0 to +0.1 s saved)"),
        (-2.0, "; 2.0 s slower than the control group (-2.0 to -1.9 s saved)"),
    ],
)
def test_times_that_hardly_differ_are_called_the_same(saved: float, words: str) -> None:
    found = Summary(10, 8, 8, 0, 0, saved, saved - 0.04, saved + 0.06, "blind", ())
    assert suggestions_in_words(found).endswith(words)

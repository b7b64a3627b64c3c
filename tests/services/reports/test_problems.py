"""Why images and labels can't be used is said with counts, examples and what to do."""

from __future__ import annotations

import pytest

from backend.views.status import project_status
from services.labels.labelled_tasks import mark_labelled_tasks
from services.labels.renaming import RenameError, change_name, list_renames, unknown_names
from services.reports.problems import Problems, find_problems
from services.sync.unreadable import note_unreadable
from store.predictions.deletions import delete_tasks
from store.projects.projects import change_project
from store.tasks.tasks import TaskRecord, mark_broken, mark_embedded, save_tasks
from tests.support.workbench import CONFIG, SPACE, Workbench, label_config, region

GONE = "Label Studio answers 404 for the image"
ALIASES = CONFIG.format(
    '<Choice value="cat" alias="b"/><Choice value="dog" alias="c"/><Choice value="fox"/>'
)


def problems(bench: Workbench) -> Problems:
    with bench.store.database.read() as db:
        return find_problems(db, bench.project)


def sentences(bench: Workbench) -> list[str]:
    return [each.sentence for each in problems(bench).all]


def reason(bench: Workbench) -> str | None:
    return project_status(bench.store, bench.project).reason


def break_images(bench: Workbench, tasks: range, message: str = GONE) -> None:
    bench.store.database.write(
        lambda db: mark_broken(db, bench.project_id, dict.fromkeys(tasks, message))
    )


def configure(bench: Workbench, xml: str) -> None:
    bench.store.database.write(lambda db: change_project(db, bench.project_id, label_config=xml))


def rename(bench: Workbench, *names: str | None, **more) -> None:
    bench.store.database.write(lambda db: change_name(db, bench.project, *names, **more))


def test_a_project_without_problems_is_told_to_be_labelled(workbench: Workbench) -> None:
    assert problems(workbench).all == ()
    assert reason(workbench) == "no label yet: label a few tasks of at least two classes"


def test_images_are_counted_by_reason_with_an_example(workbench: Workbench) -> None:
    break_images(workbench, range(1, 13))
    break_images(workbench, range(20, 21), "too many pixels: 9 × 9; 1 million are allowed")
    assert sentences(workbench) == [
        f"12 images can't be used: 12 × {GONE} (task 1, …); the file isn't there any more: "
        "import it again, or delete the task",
        "1 image can't be used: 1 × too many pixels (task 20: 9 × 9; 1 million are allowed); "
        "scale it down, or raise APPRENTICE_IMAGE_MAX_PIXELS",
    ]
    assert reason(workbench) == "no label yet: label a few tasks of at least two classes"


def test_a_missing_field_is_named_with_those_that_are_there(workbench: Workbench) -> None:
    shown = TaskRecord(300, {"picture": "/1", "id": 1}, None, 1.0)
    workbench.store.database.write(lambda db: save_tasks(db, workbench.project_id, [shown]))
    (sentence,) = sentences(workbench)
    assert sentence == (
        "1 image can't be used: 1 × the task has no image at $image (task 300); the task has id, "
        "picture: `value` in the label config must name the image"
    )


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (["/1"], "there is a list: `valueList`"),
        (" ", "the text there is empty"),
        ({"url": "/1"}, "what is there is no text"),
    ],
)
def test_what_is_there_in_place_of_an_image_is_said(
    workbench: Workbench, value: object, why: str
) -> None:
    shown = TaskRecord(300, {"image": value}, None, 1.0)
    workbench.store.database.write(lambda db: save_tasks(db, workbench.project_id, [shown]))
    (sentence,) = sentences(workbench)
    assert why in sentence


@pytest.mark.parametrize("labelled", [0, 12])
def test_where_no_image_can_be_used_nobody_is_told_to_label(
    workbench: Workbench, labelled: int
) -> None:
    workbench.annotate({task: workbench.truth[task] for task in range(1, labelled + 1)})
    break_images(workbench, range(1, 241 if not labelled else 13))
    workbench.run("learn")
    told = reason(workbench) or ""
    assert "label a few" not in told
    assert f"× {GONE} (task 1, …)" in told
    # mended, it goes on
    keys = {task: f"image{task}" for task in workbench.truth}
    workbench.store.database.write(lambda db: mark_embedded(db, workbench.project_id, SPACE, keys))
    workbench.run("learn")
    assert problems(workbench).all == ()
    assert "404" not in (reason(workbench) or "")


def test_labels_of_images_that_are_not_read_yet_are_labels(workbench: Workbench) -> None:
    records = [TaskRecord(task, {"image": f"/{task}"}, f"/{task}", 1.0) for task in range(301, 305)]
    workbench.store.database.write(lambda db: save_tasks(db, workbench.project_id, records))
    workbench.annotate(dict.fromkeys(range(301, 305), "cat"))
    workbench.run("learn")
    assert reason(workbench) == "none of the 4 labelled images is read yet"


@pytest.mark.parametrize("marked", [False, True])
def test_classes_that_the_config_lost_are_named(workbench: Workbench, marked: bool) -> None:
    workbench.annotate(workbench.tasks_of("cat", 6) | workbench.tasks_of("dog", 4))
    configure(workbench, label_config(("box", "ball")))
    if marked:
        mark_labelled_tasks(workbench.store, workbench.project_id)
    (problem,) = problems(workbench).labels
    assert (problem.count, problem.kind, problem.example) == (10, "unknown class", "cat, dog")
    assert problem.sentence == (
        "10 labels name classes that the config no longer has: cat, dog (task 1, …); "
        "map them: `apprentice rename --project 1 cat NEW`"
    )
    assert reason(workbench) == problem.sentence


def test_renamed_classes_are_learned_and_suggested_by_their_new_name(workbench: Workbench) -> None:
    workbench.annotate(
        workbench.tasks_of("cat", 6) | workbench.tasks_of("dog", 6) | workbench.tasks_of("fox", 3)
    )
    workbench.run("learn")
    configure(workbench, ALIASES)
    workbench.run("learn")
    with workbench.store.database.read() as db:
        unknown = unknown_names(db, workbench.project)
    assert [(each.name, each.labels, each.suggestion) for each in unknown] == [
        ("cat", 6, "b"),
        ("dog", 6, "c"),
    ]
    assert "rename --project 1 cat b`" in sentences(workbench)[0]
    rename(workbench, "cat", "b")
    rename(workbench, "dog", "c")
    assert problems(workbench).all == ()
    assert problems(workbench).labelled == 15
    workbench.run("learn")
    assert problems(workbench).all == ()
    status = project_status(workbench.store, workbench.project)
    assert status.labels == 15
    assert status.versions[0].labels == 15
    rename(workbench, "cat", None)
    assert [each.old for each in list_renames(workbench.project)] == ["dog"]
    assert "6 labels name" in sentences(workbench)[0]


def test_a_renamed_control_is_mapped(workbench: Workbench) -> None:
    workbench.annotate(workbench.tasks_of("cat", 3) | workbench.tasks_of("dog", 2))
    configure(workbench, label_config().replace('"kind"', '"type"'))
    (sentence,) = sentences(workbench)
    assert sentence == (
        "5 labels are of a control that the config doesn't have: kind (task 1, …); if it was "
        "renamed: `apprentice rename --project 1 --tag kind NEW`"
    )
    rename(workbench, "kind", "type", tag=True)
    assert sentences(workbench) == []
    assert problems(workbench).labelled == 5


@pytest.mark.parametrize(
    ("names", "more", "why"),
    [
        (("cat", "dog"), {}, "the config still has 'cat'"),
        (("box", "nothing"), {}, "kind has no class 'nothing'"),
        (("box", "cat"), {"control": "none"}, "no learned control 'none'; it has: kind"),
        (("box", None), {}, "'box' was not renamed; renamed were: nothing"),
        (("kind", "none"), {"tag": True}, "no learned control 'none'"),
        (("kind", "kind"), {"tag": True}, "still has a control 'kind'"),
    ],
)
def test_a_rename_that_makes_no_sense_is_refused(
    workbench: Workbench, names: tuple[str, str | None], more: dict, why: str
) -> None:
    with pytest.raises(RenameError, match=why):
        rename(workbench, *names, **more)
    assert workbench.project.renames is None


def test_labels_of_what_is_not_learned_are_said_to_be(workbench: Workbench) -> None:
    box = '<RectangleLabels name="box" toName="image"><Label value="x"/></RectangleLabels>'
    configure(workbench, label_config().replace("</View>", box + "</View>"))
    workbench.submit({1: [region("box", "rectanglelabels", ["x"])], 2: []})
    first, second = sentences(workbench)
    assert "1 label is of a control that is not learned: RectangleLabels 'box'" in first
    assert second.startswith("1 label says nothing (task 2)")
    assert "label a few" not in (reason(workbench) or "")
    workbench.annotate({3: "cat"})
    assert sentences(workbench) == [], "beside usable labels they are no problem"


def test_annotations_that_could_not_be_read_are_counted(workbench: Workbench) -> None:
    def note(db) -> None:
        note_unreadable(db, workbench.project_id, [1, 2, 3], {1: "no time", 3: "no result"})

    workbench.store.database.write(note)
    assert sentences(workbench) == [
        "2 annotations can't be read (task 1: no time, …); "
        "open them in Label Studio and submit them again"
    ]
    workbench.store.database.write(lambda db: note_unreadable(db, workbench.project_id, [1], {}))
    assert [each.count for each in problems(workbench).all] == [1]
    workbench.store.database.write(lambda db: delete_tasks(db, workbench.project_id, {3}))
    assert sentences(workbench) == []


def test_many_reasons_are_summed_up(workbench: Workbench) -> None:
    for task in range(1, 21):
        break_images(workbench, range(task, task + 1), f"{chr(96 + task)} fault: x")
    found = problems(workbench).images
    assert len(found) == 7
    assert sum(each.count for each in found) == 20
    assert found[-1].kind == "other reasons"

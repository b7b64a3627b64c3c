"""learn and suggest for every kind of control: from annotations to what is pushed."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.training.control import ControlData, agrees
from services.snapshot import Snapshot, take_snapshot
from services.suggestions.predictor import Predictor, Suggestion
from services.training.gate import judge
from services.training.train import train
from services.training.training_set import TrainingSet, training_set
from store.predictions.publications import PredictionItem, next_chunk, pending_publications
from store.tasks.tasks import TaskRecord, mark_embedded, save_tasks
from store.versions.versions import Version, list_versions
from studio.config import parse_label_config
from tests.support.workbench import SPACE, Workbench, region

AB = '<Choice value="a"/><Choice value="b"/><Choice value="c"/>'
SEVERAL = f'<Choices name="tags" toName="image" choice="multiple">{AB}</Choices>'
TREE = (
    '<Choice value="pet"><Choice value="cat"/><Choice value="dog"/></Choice>'
    '<Choice value="wild"><Choice value="fox"/></Choice>'
)
TAXONOMY = f'<Taxonomy name="tree" toName="image">{TREE}</Taxonomy>'
RATING = '<Rating name="stars" toName="image" maxRating="3"/>'
NUMBER = '<Number name="size" toName="image" min="0" max="100"/>'

ALL = range(1, 241)
TRAINING = range(1, 121)
REST = range(121, 241)


def tags_of(task: int) -> list[str]:
    return [["a"], ["a", "b"], []][task % 3]


def path_of(task: int) -> list[str]:
    return [["pet", "cat"], ["pet", "dog"], ["wild", "fox"]][task % 3]


def vectors(bench: Workbench, tasks: range) -> np.ndarray:
    found = bench.store.embeddings.get(SPACE, [f"image{task}" for task in tasks])
    return np.stack([found[f"image{task}"] for task in tasks])


def newest(bench: Workbench) -> Version:
    with bench.store.database.read() as db:
        return list_versions(db, bench.project_id)[0]


def pushed(bench: Workbench) -> list[PredictionItem]:
    """The predictions of the new version: the first ones, then the others."""
    with bench.store.database.read() as db:
        chunks = [next_chunk(db, each.id) for each in pending_publications(db, bench.project_id)]
    return [item for chunk in chunks if chunk is not None for item in chunk.items]


def suggestions(bench: Workbench, tasks: range, least: float = 0.5) -> list[Suggestion]:
    predictor = Predictor.load(bench.store, newest(bench))
    config = parse_label_config(bench.project.label_config)
    return predictor.suggest(config, vectors(bench, tasks), least)


def said(suggestion: Suggestion, name: str) -> Any:
    for of_control in suggestion.result:
        if of_control.from_name == name:
            return next(iter(of_control.value.values()))
    return None


def test_several_choices_are_learned_each_for_itself(workbench: Workbench) -> None:
    workbench.configure(SEVERAL)
    # An annotation without any of them says that there is none.
    workbench.submit(
        {t: [region("tags", "choices", tags_of(t))] if tags_of(t) else [] for t in TRAINING}
    )
    workbench.run("learn")
    answers = suggestions(workbench, REST)
    right = [
        (said(answer, "tags") or []) == tags_of(task)
        for task, answer in zip(REST, answers, strict=True)
    ]
    assert np.mean(right) > 0.95
    metrics = newest(workbench).metrics["controls"]["tags"]
    assert (metrics["form"], metrics["classes"]) == ("multi", ["a", "b"])
    assert metrics["accuracy"]["value"] > 0.95
    assert metrics["measures"]["mean_average_precision"]["value"] > 0.95
    assert pushed(workbench)


def test_one_path_each_is_one_of_many(workbench: Workbench) -> None:
    workbench.configure(TAXONOMY)
    workbench.submit({t: [region("tree", "taxonomy", [path_of(t)])] for t in TRAINING})
    workbench.run("learn")
    assert newest(workbench).metrics["controls"]["tree"]["form"] == "single"
    answers = suggestions(workbench, REST, 0.0)
    right = [
        said(answer, "tree") == [path_of(task)] for task, answer in zip(REST, answers, strict=True)
    ]
    assert np.mean(right) > 0.95


def test_several_paths_are_suggested_without_what_is_above_them(workbench: Workbench) -> None:
    workbench.configure(TAXONOMY)
    both = [["pet", "cat"], ["wild", "fox"]]
    truth = {task: both if task % 3 == 0 else [path_of(task)] for task in ALL}
    workbench.submit({t: [region("tree", "taxonomy", truth[t])] for t in TRAINING})
    workbench.run("learn")
    assert newest(workbench).metrics["controls"]["tree"]["form"] == "multi"
    answers = suggestions(workbench, REST)
    right = [said(answer, "tree") == truth[t] for t, answer in zip(REST, answers, strict=True)]
    assert np.mean(right) > 0.95


def test_stars_and_numbers_share_the_embeddings(workbench: Workbench) -> None:
    workbench.configure(RATING + NUMBER)
    x = vectors(workbench, ALL).astype(np.float64)
    slope = x[:, 0] / np.linalg.norm(x, axis=1)
    size = dict(zip(ALL, 50 + 40 * slope, strict=True))
    workbench.submit(
        {
            t: [
                region("stars", "rating", t % 3 + 1),
                region("size", "number", round(float(size[t]), 2)),
            ]
            for t in TRAINING
        }
    )
    workbench.run("learn")
    metrics = newest(workbench).metrics["controls"]
    assert {metrics["stars"]["form"], metrics["size"]["form"]} == {"number"}
    assert metrics["size"]["measures"]["mean_absolute_error"]["value"] < 8
    answers = suggestions(workbench, REST, 0.0)
    stars = [said(answer, "stars") for answer in answers]
    assert set(stars) <= {1, 2, 3}
    assert np.mean([star == t % 3 + 1 for t, star in zip(REST, stars, strict=True)]) > 0.6
    guesses = np.array([said(answer, "size") for answer in answers])
    truth = np.array([size[t] for t in REST])
    assert np.corrcoef(guesses, truth)[0, 1] > 0.8
    inside = [
        low <= true <= high
        for true, (low, high) in zip(
            truth, (answer.intervals["size"] for answer in answers), strict=True
        )
    ]
    assert 0.8 <= np.mean(inside) <= 1.0


def test_what_is_unsure_is_left_out_control_by_control(workbench: Workbench) -> None:
    workbench.configure(SEVERAL + NUMBER)
    rng = np.random.default_rng(0)
    workbench.submit(
        {
            t: [
                region("tags", "choices", tags_of(t)),
                region("size", "number", round(float(rng.uniform(0, 100)), 1)),
            ]
            for t in TRAINING
        }
    )
    workbench.run("learn")
    answers = suggestions(workbench, REST)
    assert sum(said(answer, "tags") is not None for answer in answers) > 70
    assert all(said(answer, "size") is None for answer in answers)
    assert all(answer.confidence < 0.5 for answer in answers)


def test_a_control_without_two_different_labels_does_not_hinder_the_others(
    workbench: Workbench,
) -> None:
    workbench.configure(SEVERAL + NUMBER + TAXONOMY + RATING)
    results = {t: [region("tags", "choices", tags_of(t))] for t in TRAINING}
    for result in results.values():
        result.append(region("size", "number", 7))
        result.append(region("tree", "taxonomy", [["wild", "fox"]]))
        result.append(region("stars", "rating", float("nan")))
    # As it may stand in a store that takes no NaN: nothing at all.
    for result in results.values():
        result[-1]["value"] = {"rating": None}
    workbench.submit(results)
    workbench.run("learn")
    metrics = newest(workbench).metrics
    assert set(metrics["controls"]) == {"tags"}
    assert metrics["untrained"]["size"] == (
        "size: all numbers so far are 7; a second one is needed"
    )
    assert "only 'wild / fox' is labelled so far" in metrics["untrained"]["tree"]
    assert metrics["untrained"]["stars"] == "stars: no label yet"


def test_images_that_all_have_the_same_classes_are_not_learned(workbench: Workbench) -> None:
    workbench.configure(SEVERAL)
    workbench.submit({t: [region("tags", "choices", ["a", "b"])] for t in TRAINING})
    workbench.run("learn")
    assert "labelled alike" in str(workbench.project.reason)
    workbench.submit({t: [] for t in TRAINING}, at=2.0)
    workbench.run("learn")
    assert "none" in str(workbench.project.reason) or "no image" in str(workbench.project.reason)


def test_a_class_that_comes_and_one_that_goes(workbench: Workbench) -> None:
    workbench.configure(SEVERAL)
    workbench.submit({t: [region("tags", "choices", tags_of(t))] for t in TRAINING})
    workbench.run("learn")
    fewer = SEVERAL.replace('<Choice value="a"/>', '<Choice value="new"/>')
    workbench.configure(fewer)
    assert all("a" not in (said(answer, "tags") or []) for answer in suggestions(workbench, REST))
    workbench.run("learn")
    assert newest(workbench).metrics["controls"]["tags"]["classes"] == ["b"]
    named = {t: [region("tags", "choices", ["new"])] for t in TRAINING if t % 3 == 2}
    workbench.submit(named, at=2.0)
    workbench.run("learn")
    version = newest(workbench)
    assert version.metrics["controls"]["tags"]["classes"] == ["new", "b"]


def test_labels_from_before_a_class_came_say_nothing_of_it(workbench: Workbench) -> None:
    workbench.configure(SEVERAL)
    # The new class is what "a" alone looks like; these labels are from before it came.
    workbench.submit({t: [region("tags", "choices", tags_of(t))] for t in TRAINING})
    workbench.run("learn")
    workbench.configure(SEVERAL.replace("</Choices>", '<Choice value="late"/></Choices>'))
    workbench.run("learn")
    later = time.time() + 60
    few = {t: [region("tags", "choices", ["a", "late"])] for t in range(123, 136, 3)}
    workbench.submit(few, at=later)
    now = take_snapshot(workbench.store, workbench.project_id)
    rows = of_tags(training_set(workbench.store, now), now)
    assert not np.isnan(rows.labels.y).any(), "it would be seen everywhere"
    others = {t: [region("tags", "choices", tags_of(t))] for t in REST if t % 3 and t < 160}
    workbench.submit(others, at=later)
    now = take_snapshot(workbench.store, workbench.project_id)
    data = training_set(workbench.store, now)
    rows = of_tags(data, now)
    late = rows.labels.names.index("late")
    assert np.isnan(rows.labels.y[:, late]).sum() == len(TRAINING)
    assert not np.isnan(np.delete(rows.labels.y, late, axis=1)).any()
    result = train(data, now.config, seed=0, served=None).results["tags"]
    assert result.accuracy.value > 0.9
    workbench.run("learn")
    answers = suggestions(workbench, REST)
    found = ["late" in (said(answer, "tags") or []) for answer in answers]
    assert np.mean([a == (t % 3 == 0) for t, a in zip(REST, found, strict=True)]) > 0.9


def of_tags(data: TrainingSet, now: Snapshot) -> ControlData:
    return data.of_control(now.config.controls[0], np.arange(len(data.tasks)))


def test_several_and_one_may_change_places(workbench: Workbench) -> None:
    workbench.configure(SEVERAL)
    workbench.submit({t: [region("tags", "choices", tags_of(t))] for t in TRAINING})
    workbench.run("learn")
    workbench.configure(SEVERAL.replace('choice="multiple"', 'choice="single"'))
    answers = suggestions(workbench, REST)
    assert all(answer.result == [] and answer.confidence == 0 for answer in answers)


def test_labels_that_contradict_each_other_are_told(workbench: Workbench) -> None:
    same = TaskRecord(500, {"image": "/1"}, "/1", 1.0)

    def write(db: Any) -> None:
        save_tasks(db, workbench.project_id, [same])
        mark_embedded(db, workbench.project_id, SPACE, {500: "image1"})

    workbench.store.database.write(write)
    labels = {task: workbench.truth[task] for task in TRAINING}
    workbench.annotate(labels | {500: workbench.truth[2]})
    workbench.run("learn")
    assert newest(workbench).metrics["notes"] == [
        "kind: 1 image is in several tasks that are labelled differently, such as tasks 1 and 500"
    ]


def test_a_task_offers_its_own_choices(workbench: Workbench) -> None:
    workbench.configure('<Choices name="which" toName="image" value="$options"/>')

    def data(task: int) -> dict[str, Any]:
        # Of every task's choices one is right; the others differ from task to task.
        other = f"other{task % 5}"
        return {"image": f"/{task}", "options": [{"value": workbench.truth[task]}, other]}

    records = [TaskRecord(task, data(task), f"/{task}", 2.0) for task in ALL]
    workbench.store.database.write(lambda db: save_tasks(db, workbench.project_id, records))
    labels = {t: [region("which", "choices", [workbench.truth[t]])] for t in TRAINING}
    workbench.submit(labels)
    workbench.run("learn")
    version = newest(workbench)
    assert set(version.metrics["controls"]["which"]["classes"]) == {"cat", "dog", "fox"}
    items = [item for item in pushed(workbench) if item.result]
    assert len(items) > 40
    assert all(item.result[0]["value"]["choices"] == [workbench.truth[item.task]] for item in items)


def test_a_thousand_classes_with_one_label_each(workbench: Workbench) -> None:
    names = [f"kind {number}" for number in range(1000)]
    workbench.configure(
        '<Choices name="kind" toName="image">'
        + "".join(f'<Choice value="{name}"/>' for name in names)
        + "</Choices>"
    )
    tasks = list(ALL)
    workbench.annotate({task: names[task] for task in tasks})
    workbench.run("learn")
    version = newest(workbench)
    assert len(version.metrics["controls"]["kind"]["classes"]) == len(tasks)
    assert version.metrics["accuracy"]["value"] == 0


@pytest.mark.parametrize("tags", [SEVERAL, TAXONOMY, NUMBER])
def test_the_same_labels_give_the_same_arrays(workbench: Workbench, tags: str) -> None:
    workbench.configure(tags)
    workbench.submit(
        {
            t: [
                region("tags", "choices", tags_of(t)),
                region("tree", "taxonomy", [path_of(t), ["wild", "fox"]][: 1 + t % 2]),
                region("size", "number", t % 7),
            ]
            for t in TRAINING
        }
    )
    now = take_snapshot(workbench.store, workbench.project_id)
    data = training_set(workbench.store, now)
    first, again = (
        train(data, now.config, seed=0, served=None).artifact(SPACE, "").arrays for _ in range(2)
    )
    assert first.keys() == again.keys()
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_why_a_kind_of_head_was_taken_is_told_and_kept(workbench: Workbench) -> None:
    workbench.annotate({task: workbench.truth[task] for task in TRAINING})
    workbench.run("learn")
    first = newest(workbench).metrics["controls"]["kind"]
    assert first["selection"]["kind"] == first["head"]
    assert first["selection"]["labels"] == len(TRAINING)
    assert len(first["selection"]["candidates"]) > 2
    workbench.annotate({task: workbench.truth[task] for task in range(121, 131)})
    workbench.run("learn")
    assert newest(workbench).labels == len(TRAINING) + 10
    assert newest(workbench).metrics["controls"]["kind"]["selection"] == first["selection"]


def test_a_kind_of_head_may_be_asked_for(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbench.annotate({task: workbench.truth[task] for task in TRAINING})
    monkeypatch.setenv("APPRENTICE_HEAD", "logistik")
    workbench.run("learn")
    assert "APPRENTICE_HEAD" in str(workbench.project.reason)
    assert "did you mean logistic?" in str(workbench.project.reason)
    monkeypatch.setenv("APPRENTICE_HEAD", "knn")
    workbench.run("learn")
    assert newest(workbench).metrics["controls"]["kind"]["head"] == "knn"
    answers = suggestions(workbench, REST)
    right = [
        said(answer, "kind") == [workbench.truth[task]]
        for task, answer in zip(REST, answers, strict=True)
    ]
    assert np.mean(right) > 0.9


def test_who_skips_teaches_nothing(workbench: Workbench) -> None:
    workbench.configure(SEVERAL)
    workbench.submit({t: [] for t in TRAINING}, was_cancelled=True)
    workbench.run("learn")
    assert "no label yet" in str(workbench.project.reason)


def test_a_worse_version_of_several_classes_is_refused(workbench: Workbench) -> None:
    workbench.configure(SEVERAL)
    workbench.submit({t: [region("tags", "choices", tags_of(t))] for t in TRAINING})
    now = take_snapshot(workbench.store, workbench.project_id)
    data = training_set(workbench.store, now)
    good = train(data, now.config, seed=0, served=None)
    served, artifact = good.predictor(SPACE), good.artifact(SPACE, "")
    assert judge(good, data, served, artifact).accepted
    # One that learned from labels of which a third is wrong, judged by the right ones.
    wrong = {task: {"tags": now.labels[1 + task // 3]["tags"]} for task in now.labels}
    mixed = {task: (wrong if task % 3 == 1 else now.labels)[task] for task in now.labels}
    bad = train(replace(data, labels=mixed), now.config, seed=0, served=None)
    unseen = good.results["tags"].unseen
    result = bad.results["tags"]
    correct = agrees(result.predicted, unseen, result.head)
    bad = replace(bad, results={"tags": replace(result, unseen=unseen, correct=correct)})
    assert not judge(bad, data, served, artifact).accepted

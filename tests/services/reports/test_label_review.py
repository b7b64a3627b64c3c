"""Several annotators and wrong labels: what learning makes of them, and what it tells people."""

from dataclasses import replace

import numpy as np

from services.reports.label_review import review
from services.snapshot import take_snapshot
from services.training.train import train
from services.training.training_set import TrainingSet, training_set
from store.predictions.deletions import delete_tasks
from store.versions.label_reviews import Review, get_review
from studio.config import parse_label_config
from tests.support.workbench import CLASSES, Workbench, label_config, region

WRONG = dict(zip(CLASSES, ("dog", "fox", "cat"), strict=True))


def learned(bench: Workbench) -> Review:
    bench.run("learn")
    return known(bench)


def known(bench: Workbench) -> Review:
    with bench.store.database.read() as db:
        return get_review(db, bench.project_id)


def two_annotators(bench: Workbench, count: int = 20) -> dict[int, str]:
    """Annotator 7 is always right, annotator 8 is wrong on the tasks that are returned."""
    labels = {task: name for name in CLASSES for task, name in bench.tasks_of(name, count).items()}
    wrong = {task: WRONG[name] for task, name in list(labels.items())[::4]}
    bench.annotate(labels, by=7)
    bench.annotate(labels | wrong, by=8, at=2.0)
    return wrong


def data_of(bench: Workbench) -> TrainingSet:
    return training_set(bench.store, take_snapshot(bench.store, bench.project_id))


def test_without_any_label_nothing_is_known(workbench: Workbench) -> None:
    assert learned(workbench) == Review(None, (), (), ())


def test_annotators_are_rated_and_the_worst_comes_first(workbench: Workbench) -> None:
    wrong = two_annotators(workbench)
    worse, better = learned(workbench).annotators
    assert (worse.annotator, better.annotator) == (8, 7)
    assert worse.control == "kind"
    assert worse.labels == worse.shared == better.labels == 60
    assert worse.quality < better.quality
    assert worse.agreement == round(1 - len(wrong) / 60, 4)
    assert better.agreement == 1
    assert better.expected > 0.9


def test_disagreement_is_listed_with_what_is_most_likely_meant(workbench: Workbench) -> None:
    wrong = two_annotators(workbench)
    contested = learned(workbench).contested
    assert {item.task for item in contested} == set(wrong)
    for item in contested:
        assert item.likely == workbench.truth[item.task]
        sides = {str(one.label): one.annotators for one in item.opinions}
        assert sides == {item.likely: [7], wrong[item.task]: [8]}


def test_the_better_annotator_decides_though_the_worse_came_later(workbench: Workbench) -> None:
    wrong = two_annotators(workbench)
    data = data_of(workbench)
    assert all(data.labels[task]["kind"] == name for task, name in wrong.items())
    config = parse_label_config(label_config())
    (result,) = train(data, config, seed=0, served=None).results.values()
    right = [workbench.truth[int(task)] for task in result.unseen.tasks]
    assert list(result.unseen.values) == right
    unsettled = train(replace(data, votes={}), config, seed=0, served=None)
    assert result.accuracy.value > unsettled.accuracy.value + 0.1


def test_ground_truth_settles_a_disagreement(workbench: Workbench) -> None:
    wrong = two_annotators(workbench)
    task, name = next(iter(wrong.items()))
    workbench.annotate({task: name}, by=9, at=3.0, ground_truth=True)
    found = learned(workbench)
    assert task not in {item.task for item in found.contested}
    assert task not in {item.task for item in found.suspicious}


def test_the_same_votes_give_the_same_head(workbench: Workbench) -> None:
    two_annotators(workbench)
    config = parse_label_config(label_config())
    first, second = (
        train(data_of(workbench), config, seed=0, served=None).results["kind"].head.head.arrays()
        for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_another_vote_gives_another_version_though_the_label_stays(workbench: Workbench) -> None:
    task = next(iter(two_annotators(workbench)))
    config = parse_label_config(label_config())
    before = data_of(workbench)
    (third,) = {*CLASSES} - {workbench.truth[task], WRONG[workbench.truth[task]]}
    workbench.annotate({task: third}, by=7, at=1.5)
    after = data_of(workbench)
    assert after.labels == before.labels
    assert after.digest(config) != before.digest(config)


def test_a_wrong_label_is_suspicious_until_it_is_corrected(workbench: Workbench) -> None:
    labels = {task: name for name in CLASSES for task in workbench.tasks_of(name, 30)}
    bad = dict(list(labels.items())[5:65:20])
    workbench.annotate(labels | {task: WRONG[name] for task, name in bad.items()}, by=7)
    suspicious = learned(workbench).suspicious
    assert {item.task for item in suspicious} == set(bad)
    assert [item.quality for item in suspicious] == sorted(item.quality for item in suspicious)
    for item in suspicious:
        assert item.given == WRONG[bad[item.task]]
        assert item.likely == bad[item.task]
        assert item.annotator == 7
    corrected, deleted, left = bad
    workbench.annotate({corrected: bad[corrected]}, by=7, at=2.0)
    workbench.store.database.write(lambda db: delete_tasks(db, workbench.project_id, [deleted]))
    assert [item.task for item in known(workbench).suspicious] == [left]
    workbench.annotate({left: WRONG[bad[left]]}, by=7, at=2.0, ground_truth=True)
    assert learned(workbench).suspicious == []


def test_what_others_say_of_several_classes_counts_class_by_class(workbench: Workbench) -> None:
    workbench.configure(
        '<Choices name="seen" toName="image" choice="multiple">'
        '<Choice value="animal"/><Choice value="cat"/><Choice value="dog"/></Choices>'
    )
    sets = {"cat": ["animal", "cat"], "dog": ["animal", "dog"], "fox": ["animal"]}
    labels = {task: sets[name] for name in CLASSES for task in workbench.tasks_of(name, 25)}
    labels |= {task: [] for task in workbench.tasks_of("fox", 5)}
    wrong = list(workbench.tasks_of("cat", 8))
    again = labels | {task: ["animal", "dog"] for task in wrong}
    for by, given in ((7, labels), (8, again)):
        workbench.submit(
            {task: [region("seen", "choices", names)] for task, names in given.items() if names},
            by=by,
        )
    found = learned(workbench)
    assert {item.task for item in found.contested} == set(wrong)
    assert all(item.likely == ["animal", "cat"] for item in found.contested)
    assert [rating.annotator for rating in found.annotators] == [8, 7]


def test_of_numbers_disagreement_is_told(workbench: Workbench) -> None:
    workbench.configure('<Rating name="stars" toName="image" maxRating="5"/>')
    stars = {"cat": 1, "dog": 3, "fox": 5}
    labels = {task: stars[name] for name in CLASSES for task in workbench.tasks_of(name, 12)}
    (odd,) = workbench.tasks_of("cat", 1)
    for by, given in ((7, labels), (8, labels | {odd: 5})):
        workbench.submit(
            {task: [region("stars", "rating", value)] for task, value in given.items()}, by=by
        )
    found = learned(workbench)
    assert [item.task for item in found.contested] == [odd]
    assert {one.label for one in found.contested[0].opinions} == {1.0, 5.0}
    assert found.suspicious == []
    assert {rating.annotator: rating.labels for rating in found.annotators} == {7: 36, 8: 36}


def test_features_that_have_seen_the_labels_judge_none(workbench: Workbench) -> None:
    wrong = two_annotators(workbench)
    config = parse_label_config(label_config())
    data = data_of(workbench)
    held = frozenset(list(data.labels)[::5])
    tuned = replace(data, tuned=True, holdout=held)
    (blind,) = train(tuned, config, seed=0, served=None).results.values()
    assert set(blind.out_of_fold.tasks.tolist()) == held
    pretrained = train(replace(tuned, pretrained=data.x), config, seed=0, served=None)
    found = review(pretrained.results, at=0.0)
    assert {item.task for item in found.contested} == set(wrong) - held
    assert found.annotators[0].annotator == 8

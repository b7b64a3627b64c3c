"""What each control writes is taken by the real Label Studio, and kept as it was written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from model.targets.schema import Value
from studio.client import StudioClient
from studio.config import parse_label_config
from studio.records.annotations import NewPrediction
from studio.records.projects import ProjectInfo
from studio.regions import StudioRegion

pytestmark = pytest.mark.e2e

TREE = (
    '<Choice value="p" alias="P"><Choice value="q"/><Choice value="s"/></Choice>'
    '<Choice value="r"><Choice value="q"/><Choice value="t"/></Choice>'
)
CONFIG = f"""<View><Image name="image" value="$image"/>
<Choices name="single" toName="image"><Choice value="a" alias="A"/><Choice value="b"/></Choices>
<Choices name="several" toName="image" choice="multiple">
  <Choice value="a" alias="A"/><Choice value="b"/>
</Choices>
<Choices name="nested" toName="image" allowNested="true">{TREE}</Choices>
<Choices name="offered" toName="image" value="$options"/>
<Choices name="both" toName="image" value="$options">
  <Choice value="u"/><Choice value="v"/>
</Choices>
<Choices name="deep" toName="image" value="$tree" allowNested="true"/>
<Taxonomy name="tree" toName="image">{TREE}</Taxonomy>
<Taxonomy name="grown" toName="image" value="$tree"/>
<Rating name="stars" toName="image" maxRating="7"/>
<Number name="size" toName="image" min="0" max="10" step="0.5"/>
</View>"""
DATA = {
    "image": "http://images.example/0.jpg",
    "options": [{"value": "one"}, {"value": "two"}],
    "tree": [{"value": "m", "children": [{"value": "n"}]}],
}
VALUES: dict[str, Value] = {
    "single": "A",
    "several": frozenset({"A", "b"}),
    "nested": frozenset({("P", "q")}),
    "offered": "one",
    "both": "two",
    "deep": frozenset({("m", "n")}),
    "tree": frozenset({("P", "q"), ("r",)}),
    "grown": frozenset({("m", "n")}),
    "stars": 6.0,
    "size": 3.5,
}


@pytest.fixture(scope="module")
def project(studio: StudioClient) -> Iterator[ProjectInfo]:
    made = studio.create_project("controls", CONFIG)
    studio.import_tasks(made.id, [DATA] * len(VALUES))
    yield made
    studio.delete_project(made.id)


def test_predictions_of_every_control_are_taken(studio: StudioClient, project: ProjectInfo) -> None:
    config = parse_label_config(studio.get_project(project.id).label_config)
    assert config.skipped == ()
    tasks = list(studio.task_ids(project.id))
    written: dict[int, tuple[StudioRegion, ...]] = {}
    for task, control in zip(tasks, config.controls, strict=True):
        regions = tuple(control.write(VALUES[control.name], 0.5))
        prediction = NewPrediction(task, regions, 0.5, "v1")
        taken = studio.import_predictions(project.id, [prediction])
        assert taken == config.bulk(regions), control.name
        if not taken:
            studio.create_prediction(prediction)
        written[task] = regions
    held = {found.task: found.result for found in studio.predictions(project=project.id)}
    assert held == written
    for task, control in zip(tasks, config.controls, strict=True):
        assert control.read(held[task]) == VALUES[control.name]


def test_annotations_of_every_control_are_read_again(
    studio: StudioClient, project: ProjectInfo
) -> None:
    config = parse_label_config(CONFIG)
    task = next(iter(studio.task_ids(project.id)))
    result = [one for c in config.controls for one in c.write(VALUES[c.name], 0.5)]
    made = studio.create_annotation(task, result)
    assert {c.name: c.read(made.result) for c in config.controls} == VALUES

"""The Helm chart, as far as it can be checked without Helm; deploy/helm/check.py does the rest."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from rq import Queue
from sqlalchemy import text

from store.settings import Settings
from store.store import Store
from tests.support.deploy import ROOT, setting_names, stages
from worker.queues.enqueue import needed_queues

CHART = ROOT / "deploy" / "helm"
TEMPLATES = "\n".join(path.read_text() for path in sorted(CHART.glob("templates/*")))


def values(name: str) -> dict:
    return yaml.safe_load((CHART / name).read_text())


def merged(below: dict, above: dict) -> dict:
    both = {
        name: merged(below[name], above[name])
        for name in below.keys() & above.keys()
        if isinstance(below[name], dict)
    }
    return below | above | both


@pytest.mark.parametrize("name", ["ci/least.yaml", "ci/full.yaml"])
def test_values_are_what_the_schema_knows(name: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.validate(merged(values("values.yaml"), values(name)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values("values.yaml"), schema)


def test_every_value_is_used_and_every_used_one_is_there() -> None:
    used = set(re.findall(r"\.Values\.([\w.]+\w)", TEMPLATES))
    for path in used:
        place = values("values.yaml")
        for name in path.split("."):
            assert name in place, f".Values.{path}"
            place = place[name]
    assert {path.partition(".")[0] for path in used} == set(values("values.yaml"))


def test_settings_are_apprentices_own() -> None:
    names = set(re.findall(r"\b(?:APPRENTICE|LABEL_STUDIO|BASIC_AUTH)_[A-Z_]+", TEMPLATES))
    names |= set(values("ci/full.yaml")["settings"])
    assert names
    assert names <= setting_names()


def test_each_queue_has_a_worker(tmp_path: Path) -> None:
    needed = set(needed_queues(Settings(home=tmp_path)))  # guest models run on one machine
    assert set(values("values.yaml")["workers"]) | {"embed", "finetune"} == needed


def test_what_is_scaled_by_is_there(tmp_path: Path) -> None:
    (name,) = re.findall(r'listName: "([^"]+)"', TEMPLATES)
    assert name == Queue.redis_queue_namespace_prefix + "finetune"
    (query,) = re.findall(r"query: (SELECT .*)", TEMPLATES)
    store = Store.open(Settings(home=tmp_path), migrate=True)
    with store.database.read() as db:
        assert db.execute(text(query)).scalar_one() == 0
    store.close()


def test_images_and_chart_belong_together() -> None:
    runtime = dict(stages()["runtime"])
    assert "10001" in runtime["RUN"]
    assert set(re.findall(r"runAs(?:User|Group): (\d+)", TEMPLATES)) == {"10001"}
    assert "/opt/healthcheck.py" in runtime["COPY"]
    assert set(re.findall(r"python, (/\S+),", TEMPLATES)) == {"/opt/healthcheck.py"}

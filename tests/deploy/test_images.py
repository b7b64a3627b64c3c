"""The Dockerfile, as far as it can be checked without a container engine."""

import shlex

import pytest

from tests.support.deploy import ROOT, last, our_services, stages

IMAGES = ("web", "worker")


@pytest.mark.parametrize("image", IMAGES)
def test_the_image_runs_the_program_without_privileges(image: str) -> None:
    stage, runtime = stages()[image], stages()["runtime"]
    assert last(stage, "FROM")[0] == "runtime"
    assert last(stage, "USER") == ["10001:10001"]
    assert last(runtime, "ENTRYPOINT") == ["apprentice"]
    commands = [service["command"] for service in our_services().values()]
    assert last(stage, "CMD") in commands


@pytest.mark.parametrize("image", IMAGES)
def test_the_image_has_its_own_locked_packages(image: str) -> None:
    copied = [shlex.split(rest) for name, rest in stages()[f"{image}-packages"] if name == "COPY"]
    assert copied == [[f"requirements/{image}.txt", "/tmp/requirements.txt"]]
    assert f"--from={image}-packages /opt/apprentice /opt/apprentice" in [
        rest for name, rest in stages()[image] if name == "COPY"
    ]


def test_the_web_image_says_whether_it_is_well() -> None:
    assert "/opt/healthcheck.py" in dict(stages()["web"])["HEALTHCHECK"]
    assert ("COPY", "deploy/healthcheck.py /opt/healthcheck.py") in stages()["runtime"]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    sources = [
        source
        for stage in stages().values()
        for name, rest in stage
        if name == "COPY" and "--from=" not in rest
        for source in shlex.split(rest)[:-1]
    ]
    assert len(sources) > 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in let_in or f"{source.split('/')[0]}/*.txt" in let_in, source


def test_the_data_folder_belongs_to_the_user_before_it_is_a_volume() -> None:
    names = [name for name, _ in stages()["runtime"]]
    owner = next(
        index for index, (_, rest) in enumerate(stages()["runtime"]) if "--owner 10001" in rest
    )
    assert owner < names.index("VOLUME")

"""The compose file, as far as it can be checked without a container engine."""

import os
import re
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from store.work.work_kind import GUEST_WORK
from tests.support.deploy import ROOT, compose, our_services, setting_names, stages
from worker.queues.enqueue import QUEUES

DEFAULT = re.compile(r"\$\{\w+:-(.*)\}")


def default_of(value: str) -> str:
    """What `${NAME:-default}` says when NAME isn't set."""
    found = DEFAULT.fullmatch(value)
    return found[1] if found else value


def test_it_follows_the_compose_specification() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_label_studio_may_call_private_addresses() -> None:
    environment = compose()["services"]["label-studio"]["environment"]
    assert environment["ML_BLOCK_LOCAL_IP"] == "false"
    assert environment["SSRF_PROTECTION_ENABLED"] == "false"


def test_label_studio_reaches_the_backend_by_a_name_with_a_dot() -> None:
    services = compose()["services"]
    backend = services["backend"]
    url = urlsplit(default_of(backend["environment"]["APPRENTICE_PUBLIC_URL"]))
    assert url.hostname
    assert "." in url.hostname
    [network] = services["label-studio"]["networks"]
    assert url.hostname in backend["networks"][network]["aliases"]
    assert str(url.port) == backend["environment"]["APPRENTICE_PORT"]


def test_what_runs_ours_has_no_privileges() -> None:
    assert our_services()
    for name, service in our_services().items():
        assert service["user"] == "10001:10001", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name
        assert "privileged" not in service, name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_what_runs_ours_shares_home_queue_and_password() -> None:
    backend = our_services()["backend"]["environment"]
    for name, service in our_services().items():
        environment = service["environment"]
        assert backend.items() <= environment.items(), name
        assert f"apprentice:{environment['APPRENTICE_HOME']}" in service["volumes"], name
        assert service["restart"] == "unless-stopped", name


def test_every_variable_is_a_setting() -> None:
    for name, service in our_services().items():
        assert service["environment"].keys() <= setting_names(), name


def test_each_queue_has_one_worker_and_each_worker_one_queue() -> None:
    served = [
        service["command"][1:]
        for service in our_services().values()
        if service["command"][0] == "worker" and "profiles" not in service
    ]
    without_guests = set(QUEUES) - GUEST_WORK
    assert sorted(served) == sorted([queue] for queue in without_guests)


def test_the_gpu_profile_only_adds_workers_with_a_device() -> None:
    services = compose()["services"]
    added = [name for name, made in services.items() if "profiles" in made]
    assert added == ["worker-embed-gpu", "worker-finetune-gpu"]
    for name in added:
        gpu, cpu = services[name], services[name.removesuffix("-gpu")]
        assert gpu["command"] == cpu["command"]
        assert gpu["environment"]["APPRENTICE_DEVICE"] == "cuda"
        [device] = gpu["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_the_broker_keeps_what_it_acknowledged_and_is_reached_by_ours_alone() -> None:
    services = compose()["services"]
    broker = services["redis"]
    flags = dict(zip(broker["command"][1::2], broker["command"][2::2], strict=True))
    assert flags["--appendonly"] == "yes"
    assert flags["--appendfsync"] == "always"
    assert flags["--maxmemory-policy"] == "noeviction"
    assert broker["networks"] == ["broker"]
    assert compose()["networks"]["broker"]["internal"] is True
    assert "broker" not in services["label-studio"]["networks"]
    assert "ports" not in broker


def test_ports_are_published_on_loopback_unless_said_otherwise() -> None:
    ports = [port for made in compose()["services"].values() for port in made.get("ports", [])]
    assert len(ports) == 2
    for port in ports:
        assert re.match(r"\$\{\w+_BIND:-127\.0\.0\.1\}:", port), port


def test_images_are_built_from_targets_that_exist() -> None:
    targets = {service["build"]["target"] for service in our_services().values()}
    assert targets == {"web", "worker"}
    assert targets <= stages().keys()
    assert our_services()["backend"]["build"]["target"] == "web"


def test_the_example_of_the_environment_names_only_what_is_read() -> None:
    text = (ROOT / "deploy" / "env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE))
    in_compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    assert named <= setting_names() | in_compose
    assert in_compose - {"APPRENTICE_REDIS_URL"} <= named


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", sorted({" ".join(s["command"]) for s in our_services().values()})
)
def test_every_command_is_one_of_the_program(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backend.cli", *command.split(), "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout

"""The offer of a stronger backbone: only where it can be had, with what it costs here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model.embedding.cost import CostError
from services.embedding import stronger_backbone
from services.embedding.stronger_backbone import find_offer
from store.settings import Settings
from tests.support.hub import Hub, hub


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that answers, and a small network to offer."""
    with hub({}) as server:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(stronger_backbone, "hub_address", lambda: server.url)
        monkeypatch.setattr(stronger_backbone, "MODEL", "test_vit")
        yield server


@pytest.mark.slow
def test_the_cost_is_measured_once_on_this_machine(
    reachable: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    assert find_offer(settings, measure=False) is None, "not measured yet"
    offer = find_offer(settings, measure=True)
    assert offer is not None
    assert offer.cost.milliseconds > 0
    assert offer.cost.reference_milliseconds > 0
    assert f"{offer.cost.milliseconds:.1f} ms an image" in offer.sentence()
    assert find_offer(settings, measure=False) == offer, "kept in the home folder"
    monkeypatch.setattr(stronger_backbone, "available_cpus", lambda: 1000)
    assert find_offer(settings, measure=False) is None, "another machine"


def test_nothing_is_offered_where_it_cannot_be_had(
    reachable: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        pytest.fail("measured in vain")

    monkeypatch.setattr(stronger_backbone, "measure_cost", never)
    chosen = Settings(home=tmp_path, backbone="timm:resnet18")
    assert find_offer(chosen, measure=True) is None, "another one was chosen"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_offer(Settings(home=tmp_path), measure=True) is None
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(stronger_backbone, "hub_address", lambda: "http://127.0.0.1:9")
    assert find_offer(Settings(home=tmp_path), measure=True) is None


def test_a_network_that_cannot_be_measured_is_not_offered(
    reachable: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CostError("no memory")

    monkeypatch.setattr(stronger_backbone, "measure_cost", fail)
    assert find_offer(Settings(home=tmp_path), measure=True) is None

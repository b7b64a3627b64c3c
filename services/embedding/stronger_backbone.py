"""Offers a stronger backbone than the bundled one, with its cost on this machine."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from model.backbones.downloads import check_reachable, hub_address, is_offline
from model.backbones.inspection import versions
from model.embedding.cost import REFERENCE, Cost, CostError, measure_cost
from model.embedding.devices import available_cpus
from services.embedding.backbones import backbone_folder
from store.settings import Settings

# DINOv2's small network, Apache-2.0: without labels, trained on 142 million images.
# https://arxiv.org/abs/2304.07193
MODEL = "vit_small_patch14_dinov2?size=224"
BACKBONE = f"timm:{MODEL}"
REACH_SECONDS = 2.0


@dataclass(frozen=True)
class Offer:
    """A stronger backbone and what it costs here."""

    backbone: str
    cost: Cost

    def sentence(self) -> str:
        """Say it in one line, with the command."""
        cost = self.cost
        return (
            f"a stronger backbone than {REFERENCE} can be downloaded "
            f"({cost.weights / 1e6:.0f} MB): {cost.milliseconds:.1f} ms an image on this machine "
            f"({REFERENCE} {cost.reference_milliseconds:.1f} ms). For one project: "
            f"`apprentice train --project ID --backbone '{self.backbone}'`"
        )


def find_offer(settings: Settings, *, measure: bool) -> Offer | None:
    """Return the offer; None where the hub can't be reached or another backbone is chosen.

    Args:
        settings: the home folder keeps the measured cost.
        measure: measure what was not measured yet (half a minute); else there is no offer.
    """
    if settings.backbone != REFERENCE or not _hub_is_reachable():
        return None
    record = backbone_folder(settings) / "cost.json"
    cost = _read(record, settings.device)
    if cost is None and measure:
        try:
            cost = measure_cost(MODEL, settings.device)
        except CostError:
            return None
        _write(record, settings.device, cost)
    return None if cost is None else Offer(BACKBONE, cost)


def _hub_is_reachable() -> bool:
    if is_offline():
        return False
    try:
        check_reachable(hub_address(), seconds=REACH_SECONDS)
    except OSError:
        return False
    return True


def _machine(device: str) -> list[str | int]:
    """What the cost depends on: with another machine or version it is measured again."""
    return [MODEL, device, available_cpus(), versions()]


def _read(record: Path, device: str) -> Cost | None:
    try:
        stored = json.loads(record.read_text())
        return Cost(**stored["cost"]) if stored["machine"] == _machine(device) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(record: Path, device: str, cost: Cost) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=record.parent, delete=False) as file:
        json.dump({"machine": _machine(device), "cost": asdict(cost)}, file)
    Path(file.name).replace(record)

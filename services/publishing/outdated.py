"""What stands in Label Studio already: what of it is outdated, and where more of it goes."""

from sqlalchemy import Connection

from services.snapshot import Snapshot
from services.suggestions.queue_order import place_after, rest_score
from services.training.train import Trained
from store.predictions.publications import scores_of
from store.tasks.units import TaskId
from store.versions.versions import (
    CANDIDATE,
    START,
    Version,
    add_version,
    find_version,
    get_version,
)

CLEARLY_BETTER = 0.02  # accuracy: from here on, old suggestions are worth replacing everywhere


def outdated(db: Connection, now: Snapshot, trained: Trained) -> list[TaskId]:
    """Tasks that show a suggestion of a version that this one is clearly better than."""
    worse: dict[int, bool] = {}
    tasks: list[TaskId] = []
    for task, version_id in now.predictions.items():
        if version_id not in worse:
            version = get_version(db, version_id)
            known = version.metrics.get("accuracy") if version else None
            gain = trained.accuracy.value - (known["value"] if known else 0.0)
            worse[version_id] = gain >= CLEARLY_BETTER
        if worse[version_id] and task not in now.annotated:
            tasks.append(task)
    return tasks


def pool_has_grown(now: Snapshot) -> bool:
    """Before the first label: many more images are known than when we chose."""
    served = now.served
    if served is None:
        return True
    known = served.metrics.get("pool", 0)
    return served.kind == START and len(now.open) > 2 * known


def next_place(db: Connection, now: Snapshot) -> int:
    """The place in Label Studio's order after what is left of the served version's shortlist."""
    if now.served is None:
        return 0
    scores = scores_of(db, now.project.id, now.served.id)
    left = [scores[task] for task in now.remaining if task in scores]
    return max((place_after(score) for score in left if score < rest_score(0)), default=0)


def hardest_control(version: Version) -> str | None:
    """The control that a version knows least; None when it knows nothing."""
    controls = version.metrics.get("controls") or {}
    values = {name: control["accuracy"]["value"] for name, control in controls.items()}
    return min(values, key=values.__getitem__, default=None)


def start_version(db: Connection, project_id: int, space: str) -> Version:
    """The version that only orders, before the first label."""
    known = find_version(db, project_id, 0)
    if known is not None:
        return known
    return add_version(
        db,
        project_id,
        kind=START,
        status=CANDIDATE,
        embedding_space=space,
        labels=0,
        labels_digest="",
        metrics={},
        verdict="an order to begin with",
        artifact=None,
    )

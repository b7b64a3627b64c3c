"""Rolls back to a version, or promotes one, at a person's request.

What they decide is written at once, as a publication; the publish job carries it to Label Studio.
A rollback holds: versions that are learned later wait as candidates until one is promoted.
"""

import re
import time

from sqlalchemy import Connection

from services.selection.queued_list import QueuedList, queued_list
from services.snapshot import Snapshot, take_snapshot
from services.suggestions.prediction_items import prediction_item, rest_items, shortlist_items
from services.suggestions.predictor import Predictor, Suggestion
from services.suggestions.suggest import suggest
from services.training.finetuned_features import tuned_of
from store.database.locks import lock_project
from store.files.artifacts import ArtifactError
from store.predictions.publication_reason import PublicationReason
from store.predictions.publications import add_publication
from store.predictions.shortlists import set_shortlist
from store.projects.embedding_spaces import backbone_of, is_tuned, return_to_space
from store.projects.projects import Project, change_project, get_project
from store.store import Store
from store.tasks.tasks import Task
from store.tasks.units import TaskId, UnitId
from store.versions.finetuned_backbones import may_be_served
from store.versions.versions import (
    START,
    Version,
    find_version,
    get_version,
    newest_candidate,
    served_before,
)
from store.work import pending_work
from store.work.work_kind import WorkKind

NAME = re.compile(r"(?:apprentice )?v?(\d{1,9})")


class VersionError(Exception):
    """The version can't be served; the message says why and what to do."""


def named_version(db: Connection, project_id: int, name: str) -> Version:
    """The project's version called "apprentice v3", "v3" or "3".

    Raises:
        VersionError: there is none.
    """
    number = NAME.fullmatch(name.strip())
    version = find_version(db, project_id, int(number[1])) if number else None
    if version is None:
        raise VersionError(f"there is no version {name!r}: `apprentice versions` lists them")
    return version


def rollback(store: Store, project: Project, name: str | None = None) -> Version:
    """Serve an earlier version again and pin it; without `name`, the one served before.

    Raises:
        VersionError: there is none that can be served.
    """
    with store.database.read() as db:
        served = _served(db, project)
        if name is not None:
            chosen = named_version(db, project.id, name)
        elif served is None:
            raise VersionError("nothing is served yet")
        else:
            before = served_before(db, served)
            if before is None:
                raise VersionError(f"no version was served before {served.name}")
            chosen = before
    if served is not None and chosen.number > served.number:
        raise VersionError(
            f"{chosen.name} is newer than {served.name}, which is served: "
            f"`apprentice promote` publishes it"
        )
    _serve(store, project, chosen, hold=True)
    return chosen


def promote(store: Store, project: Project, name: str | None = None) -> Version:
    """Serve a version whatever the gate decided, and unpin: later ones may replace it.

    Without `name` it is the newest candidate, or what is served when there is none newer.

    Raises:
        VersionError: there is none that can be served.
    """
    with store.database.read() as db:
        if name is not None:
            chosen = named_version(db, project.id, name)
        else:
            served = _served(db, project)
            candidate = newest_candidate(db, project.id)
            newer = candidate if served is None or _is_newer(candidate, served) else None
            latest = newer or served
            if latest is None:
                raise VersionError("there is no version yet")
            chosen = latest
    _serve(store, project, chosen, hold=False)
    return chosen


def _is_newer(candidate: Version | None, served: Version) -> bool:
    return candidate is not None and candidate.number > served.number


def _served(db: Connection, project: Project) -> Version | None:
    current = get_project(db, project.id)
    served_id = current.served_version_id if current else None
    return get_version(db, served_id) if served_id else None


def _serve(store: Store, project: Project, version: Version, *, hold: bool) -> None:
    if version.kind == START:
        raise VersionError(f"{version.name} is only an order to begin with: it suggests nothing")
    if version.artifact is None:
        raise VersionError(f"what {version.name} learned was not kept: it can't be served again")
    with store.database.read() as db:
        _require_backbone(db, project, version)
    try:
        predictor = Predictor.load(store, version)
    except ArtifactError as error:
        raise VersionError(f"{version.name} can't be served again: {error}") from error
    snapshot = take_snapshot(store, project.id)
    with store.database.read() as db:
        queued = queued_list(db, project.id, version.id, snapshot.annotated)
    listed = _to_suggest(snapshot, queued)
    answers = suggest(store, snapshot.project, listed, predictor, snapshot.config)
    if listed and not answers:
        raise VersionError(
            f"{version.name} needs embeddings of {version.embedding_space}, which are gone: "
            f"choose that backbone for the project again, and wait until its images are read"
        )
    _write(store, snapshot, version, queued, answers, hold=hold)


def _require_backbone(
    db: Connection, project: Project, version: Version, *, lock: bool = False
) -> None:
    """Raise VersionError when the version's fine-tuned backbone was deleted."""
    backbone = backbone_of(version.embedding_space)
    if is_tuned(backbone) and not may_be_served(db, project.id, backbone, lock=lock):
        raise VersionError(
            f"the fine-tuned backbone of {version.name} was deleted, since another had been in use "
            f"for long: `apprentice train --kind finetune` makes a new one"
        )


def _to_suggest(snapshot: Snapshot, queued: QueuedList) -> list[Task]:
    """The tasks chosen next, and those that show a suggestion of any version."""
    wanted = {*snapshot.remaining, *snapshot.predictions, *queued.scores} - snapshot.annotated
    return [task for task in snapshot.tasks if task.ls_id in wanted and task.image_error is None]


def _write(
    store: Store,
    snapshot: Snapshot,
    version: Version,
    queued: QueuedList,
    answers: dict[TaskId, Suggestion],
    *,
    hold: bool,
) -> None:
    project_id, space = snapshot.project.id, version.embedding_space
    # The version's predictions that Label Studio holds keep their places: the list goes on there.
    answered = [task for task in queued.scores if task in answers]
    others = [task for task in snapshot.remaining if task not in queued.predicted]
    new = snapshot.choices(task for task in others if task in answers)
    choices = snapshot.choices(answered) + new
    items = [prediction_item(task, queued.scores[task], answers[task]) for task in answered]
    items += shortlist_items(new, answers, first=queued.next_place)
    chosen = {choice.task for choice in choices}
    refreshed = rest_items([task for task in answers if task not in chosen], answers)
    tuned = tuned_of(store, project_id, space)
    base = tuned.base_backbone if tuned else backbone_of(space)
    units = _embedded_in(store, snapshot, space) if space != snapshot.space else []

    def write(db: Connection) -> None:
        lock_project(db, project_id)
        _require_backbone(db, snapshot.project, version, lock=True)
        change_project(db, project_id, held_at=time.time() if hold else None)
        if space != snapshot.space:
            return_to_space(db, project_id, space, base, units)
            pending_work.want(db, project_id, WorkKind.EMBED)  # what that space lacks
        add_publication(db, project_id, version.id, PublicationReason.VERSION, items)
        if refreshed:
            add_publication(db, project_id, version.id, PublicationReason.REFRESH, refreshed)
        set_shortlist(db, project_id, version.id, choices)
        pending_work.want(db, project_id, WorkKind.PUBLISH)
        # Learning fills the shortlist up under this version.
        pending_work.want(db, project_id, WorkKind.LEARN)

    store.database.write(write)


def _embedded_in(store: Store, snapshot: Snapshot, space: str) -> list[UnitId]:
    """The units whose images have an embedding in `space`."""
    keys = {image.unit: image.image_key for image in snapshot.images if image.image_key}
    embedded = store.embeddings.get(space, list(keys.values()))
    return [unit for unit, key in keys.items() if key in embedded]

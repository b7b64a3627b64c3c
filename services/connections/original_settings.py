"""A project's model version and sampling: what `connect` changes and `disconnect` restores."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from services.connections.registration import TITLE, Tell
from store.projects.projects import Project
from store.store import Store
from store.versions.versions import get_version
from studio.calls.projects import UNCERTAINTY_SAMPLING
from studio.client import StudioClient
from studio.errors import StudioRejected
from studio.records.projects import ProjectInfo
from studio.records.registrations import BackendInfo

OUR_VERSION = re.compile(r"apprentice v\d+( \+ .+)?")  # with the names of guest models


@dataclass(frozen=True)
class OriginalSettings:
    """A project's settings before `connect` changed them, which `disconnect` restores."""

    sampling: str
    model_version: str
    by_hand: bool  # somebody had added our URL already


def is_our_version(model_version: str) -> bool:
    """Whether a model version of Label Studio is one that we published."""
    return OUR_VERSION.fullmatch(model_version) is not None


def original_settings(info: ProjectInfo, our_backend: BackendInfo | None) -> OriginalSettings:
    """The settings as they were found, before anything of ours was in them."""
    # A version of ours, or our backend's title, was set by us: there is nothing to restore.
    set_by_us = is_our_version(info.model_version) or (
        our_backend is not None and info.model_version == our_backend.title
    )
    model_version = "" if set_by_us else info.model_version
    return OriginalSettings(info.sampling, model_version, by_hand=our_backend is not None)


def reset_model_version(
    store: Store,
    studio: StudioClient,
    project: Project,
    info: ProjectInfo,
    titles: Collection[str],
    before: str,
    *,
    only_title: bool = False,
    tell: Tell,
) -> None:
    """Replace a backend's title as model version: no pushed prediction would be shown.

    Args:
        titles: the backends' titles that are to be replaced.
        before: the model version to put back while we serve none.
        only_title: leave any other model version alone, also when we serve one.
    """
    with store.database.read() as db:
        served = get_version(db, project.served_version_id or 0)
    wanted, current = (served.name if served else before), info.model_version
    if current == wanted or not (current in titles or (served and not only_title)):
        return
    try:
        studio.patch_project(project.ls_id, model_version=wanted)
    except StudioRejected:  # Label Studio has no prediction of it any more
        if current not in titles:
            return
        wanted = ""
        studio.patch_project(project.ls_id, model_version=wanted)
    tell(f'model version set to "{wanted}" (was "{current}")')


def restore_settings(
    studio: StudioClient,
    project: Project,
    info: ProjectInfo,
    backend: BackendInfo | None,
    tell: Tell,
) -> None:
    """Put back what `connect` changed, unless somebody has changed it since."""
    original = OriginalSettings(**project.found) if project.found else None
    if original and info.sampling == UNCERTAINTY_SAMPLING != original.sampling:
        studio.patch_project(project.ls_id, sampling=original.sampling)
        tell(f'sampling put back to "{original.sampling}"')
    titles = {TITLE, backend.title if backend else TITLE}
    if not is_our_version(info.model_version) and info.model_version not in titles:
        return
    before = original.model_version if original else ""
    try:
        studio.patch_project(project.ls_id, model_version=before)
    except StudioRejected:  # it was deleted meanwhile
        before = ""
        studio.patch_project(project.ls_id, model_version=before)
    tell(f'model version put back to "{before}"')

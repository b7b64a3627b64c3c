"""Asks a Label Studio server whether people changed settings of projects: no count tells of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.sync.change_watch import MOST_PROJECTS
from store.projects.projects import Project
from studio.client import StudioClient
from studio.errors import StudioNonsense, StudioNotFound, StudioRejected
from studio.records.projects import ProjectSettings

SHARE = 0.0005  # of Label Studio's time that asking may take
LONGEST_SECONDS = 600.0  # between two times, however much asking costs


@dataclass
class SettingsWatch:
    """When one server is asked for settings. Times are seconds of any one clock.

    What it answers is compared with what the store holds, so that no change can be missed.
    """

    studio: StudioClient
    next_at: float = 0.0

    def ask(self, projects: Mapping[int, Project], now: float, least: float) -> set[int]:
        """The projects whose settings differ from those in Label Studio, by its ids; often none.

        Args:
            projects: by Label Studio's ids.
            now: nothing is asked before it is due.
            least: seconds until it is due again, at least.

        Raises:
            StudioError: Label Studio did not answer.
        """
        if now < self.next_at or not projects:
            return set()
        before = self.studio.seconds_spent
        changed = self._changed(projects)
        longest = max(least, LONGEST_SECONDS)
        cost = self.studio.seconds_spent - before
        self.next_at = now + min(max(least, cost / SHARE), longest)
        return changed

    def _changed(self, projects: Mapping[int, Project]) -> set[int]:
        ids, listed = sorted(projects), dict[int, ProjectSettings]()
        try:
            for start in range(0, len(ids), MOST_PROJECTS):
                listed |= self.studio.project_settings(ids[start : start + MOST_PROJECTS])
        except (StudioNotFound, StudioRejected, StudioNonsense):  # another edition
            return set(ids)  # each is to be read by itself
        return {ls_id for ls_id in listed if _differs(projects[ls_id], listed[ls_id])}


def _differs(known: Project, told: ProjectSettings) -> bool:
    return (
        int(told.created_at.timestamp()) != known.ls_created  # the id was given again
        or (told.title or known.title) != known.title
        or (told.label_config or known.label_config) != known.label_config
    )

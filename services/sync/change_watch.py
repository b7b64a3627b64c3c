"""Asks a Label Studio server which of its projects have changed, by as few requests as possible."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from studio.client import StudioClient
from studio.errors import StudioNotFound, StudioRejected
from studio.records.projects import ProjectCounts
from studio.records.tasks import LatestChange

MOST_PROJECTS = 100  # in one request
MOST_NEW = 5  # that are looked at by themselves at a time


@dataclass
class ChangeWatch:
    """The last answers of one server. Projects are named by Label Studio's ids."""

    studio: StudioClient
    _counts: dict[int, ProjectCounts | None] = field(default_factory=dict)
    _latest: dict[int, LatestChange | None] = field(default_factory=dict)
    has_counts: bool = True  # whether the server tells them; only close looks help where not
    _turn: int = 0

    def ask(
        self, projects: Mapping[int, float | None], active: Collection[int], *, closely: bool
    ) -> set[int]:
        """The projects that have changed since they were asked for last; all at the first time.

        Args:
            projects: with the time of the newest change that was read of each, in seconds since
                1970; None where none was. A change that was read is no news.
            active: those where somebody labels, which are looked at closely more often.
            closely: look at one project's tasks, too: edits change no count.

        Raises:
            StudioError: Label Studio did not answer.
        """
        self._forget(projects)
        looked_at = set(sorted(projects.keys() - self._latest.keys())[:MOST_NEW])
        if projects and (closely or not self.has_counts):
            looked_at.add(self._next_in_turn(projects, set(active).intersection(projects)))
        changed = {item for item in sorted(looked_at) if self._has_changed(item, projects[item])}
        return changed | self._with_other_counts(sorted(projects.keys() - looked_at))

    def _next_in_turn(self, projects: Collection[int], active: Collection[int]) -> int:
        """The project to be looked at closely: every second time an active one."""
        self._turn += 1
        candidates = sorted(active) if active and self._turn % 2 else sorted(projects)
        place = self._turn // 2 if active else self._turn
        return candidates[place % len(candidates)]

    def _forget(self, projects: Collection[int]) -> None:
        for answers in (self._counts, self._latest):
            for project in answers.keys() - set(projects):
                del answers[project]

    def _has_changed(self, project: int, read_until: float | None) -> bool:
        try:
            latest = self.studio.latest_change(project)
        except StudioNotFound:  # deleted
            latest = None
        is_new = project not in self._latest
        before = self._latest.get(project)
        self._latest[project] = latest
        if latest == before and not is_new:
            return False
        if _agree(latest, self._counts.get(project)) and (is_new or _is_read(latest, read_until)):
            return False
        self._counts.pop(project, None)
        return True

    def _with_other_counts(self, projects: list[int]) -> set[int]:
        if not projects or not self.has_counts:
            return set()
        counts: dict[int, ProjectCounts] = {}
        try:
            for start in range(0, len(projects), MOST_PROJECTS):
                counts |= self.studio.project_counts(projects[start : start + MOST_PROJECTS])
        except (StudioNotFound, StudioRejected):  # an older or another edition
            self.has_counts = False
            return set()
        changed = {item for item in projects if self._is_news(item, counts.get(item))}
        self._counts |= {item: counts.get(item) for item in projects}
        return changed

    def _is_news(self, project: int, counts: ProjectCounts | None) -> bool:
        if project in self._counts:
            return self._counts[project] != counts
        return not _agree(self._latest.get(project), counts)


def _is_read(latest: LatestChange | None, until: float | None) -> bool:
    if latest is None or latest.at is None or until is None:
        return False
    return latest.at.timestamp() <= until


def _agree(latest: LatestChange | None, counts: ProjectCounts | None) -> bool:
    """Whether answers of both kinds are there, and name the same numbers."""
    if latest is None or counts is None:
        return False
    return (latest.tasks, latest.annotations) == (counts.tasks, counts.annotations)

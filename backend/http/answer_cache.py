"""Keeps the serialised answers of /predict in memory, for as long as the same is to be answered.

An answer depends on the served version, the label config, the task's images and its place on the
shortlist. What depends on more of the task's data is not kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.http.cache import LruCache
from services.sync.records import image_uris
from store.projects.projects import Project
from store.tasks.units import TaskId
from store.versions.versions import Version
from studio.config import LabelConfig

PROJECTS = 16
MOST_ANSWERS = 5_000  # of a project, about 1 kB each
LONGEST_URI = 1_000  # characters; longer ones hold the image itself


@dataclass(frozen=True, slots=True)
class Answer:
    """An entry of /predict's answer.

    Attributes:
        uris: of the task's images.
        place: the score of the task's place on the shortlist; None if it has none.
        body: the entry as JSON.
        suggests: whether it holds a suggestion.
    """

    uris: tuple[str | None, ...]
    place: float | None
    body: bytes
    suggests: bool


@dataclass
class ProjectAnswers:
    """A project's answers by task, for as long as one version is served under one label config."""

    version: Version
    fence: int  # of its publication: a version that is served again is asked for anew
    label_config: str
    config: LabelConfig
    answers: dict[TaskId, Answer] = field(default_factory=dict)

    def find(self, tasks: Sequence[Any], places: Mapping[TaskId, float]) -> list[Answer] | None:
        """The answers to all tasks of a request, in order; None if one of them isn't there."""
        found: list[Answer] = []
        for task in tasks:
            key, data = (task.get("id"), task.get("data")) if isinstance(task, dict) else (0, 0)
            if type(key) is not int or not isinstance(data, dict):
                return None
            key = TaskId(key)
            answer = self.answers.get(key)
            if answer is None or answer.place != places.get(key):
                return None
            if answer.uris != tuple(image_uris(self.config, data)):
                return None
            found.append(answer)
        return found

    def add(self, answers: Mapping[TaskId, Answer]) -> None:
        """Add answers that Label Studio is given and that are on record."""
        if len(self.answers) + len(answers.keys() - self.answers.keys()) > MOST_ANSWERS:
            self.answers.clear()
        if len(answers) > MOST_ANSWERS:
            return
        for task, answer in answers.items():
            if all(uri is None or len(uri) <= LONGEST_URI for uri in answer.uris):
                self.answers[task] = answer


class AnswerCache:
    """A thread-safe cache of projects' answers; those not asked for longest are dropped."""

    def __init__(self) -> None:
        self._projects: LruCache[int, ProjectAnswers] = LruCache(PROJECTS)

    def get(self, project: Project, label_config: str) -> ProjectAnswers | None:
        """The answers of the version that is served now; None if none were given yet."""
        known = self._projects.get(project.id)
        if known is None or known.label_config != label_config:
            return None
        served = (project.served_version_id, project.served_fence)
        return known if (known.version.id, known.fence) == served else None

    def open(
        self, project: Project, version: Version, label_config: str, config: LabelConfig
    ) -> ProjectAnswers:
        """The answers of the version that is served now, to add some."""
        known = self.get(project, label_config)
        if known is None:
            known = ProjectAnswers(version, project.served_fence, label_config, config)
            self._projects.put(project.id, known)
        return known

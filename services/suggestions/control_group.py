"""Withholds the suggestions of a control group of tasks, to measure how they sway people.

A task is in the group for good, whatever the version: it is drawn by a hash of its id, which is
independent of its image. It keeps its place in the queue; its withheld suggestion is stored, so
that the ledger can compare.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from services.suggestions.predictor import Suggestion
from store.projects.projects import Project
from store.tasks.units import TaskId


def in_control_group(project: Project, task: TaskId, share: float) -> bool:
    """Whether a task is in the control group, a `share` (0 to 1) of all tasks."""
    name = f"{project.ls_created}.{project.ls_id}.{task}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") < share * 2**64


def withhold(
    project: Project, suggestions: Mapping[TaskId, Suggestion], share: float
) -> dict[TaskId, Suggestion]:
    """Withhold the suggestions of tasks in the control group."""
    return {
        task: withheld(suggestion) if in_control_group(project, task, share) else suggestion
        for task, suggestion in suggestions.items()
    }


def withheld(suggestion: Suggestion) -> Suggestion:
    """The suggestion with its result withheld; an empty one stays as it is."""
    if not suggestion.result:
        return suggestion
    return replace(suggestion, result=[], withheld=suggestion.result)

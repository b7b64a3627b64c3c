"""Withholds the suggestions of a control group of tasks, to measure how they sway people.

A task is blind or not for good, whatever the version: drawn by a hash of its id, which is chance as
far as its image is concerned. A blind task keeps its place in the queue; what it would have been
shown is remembered, so that the ledger can compare.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from services.suggestions.predictor import Suggestion
from store.projects.projects import Project
from store.tasks.units import TaskId


def is_blind(project: Project, task: TaskId, share: float) -> bool:
    """Whether a task is in the control group, a `share` (0 to 1) of all tasks."""
    name = f"{project.ls_created}.{project.ls_id}.{task}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") < share * 2**64


def withhold(
    project: Project, suggestions: Mapping[TaskId, Suggestion], share: float
) -> dict[TaskId, Suggestion]:
    """The suggestions by task, those of blind tasks withheld."""
    return {
        task: withheld(suggestion) if is_blind(project, task, share) else suggestion
        for task, suggestion in suggestions.items()
    }


def withheld(suggestion: Suggestion) -> Suggestion:
    """The same, shown to nobody. One that says nothing has nothing to withhold."""
    if not suggestion.result:
        return suggestion
    return replace(suggestion, result=[], withheld=suggestion.result)

"""Checks of a project's images and labels: whether they can be used."""

from collections.abc import Iterator

from backend.doctor.checks import Check, ok, warning
from services.reports.problems import find_problems
from store.projects.projects import Project
from store.store import Store


def examine_problems(store: Store, project: Project) -> Iterator[Check]:
    """Check for images and labels that can't be used, by reason."""
    with store.database.read() as db:
        problems = find_problems(db, project)
    if not problems.all:
        yield ok(f"project {project.ls_id} images and labels", "none is known to be unusable")
    for problem in problems.all:
        name = f"project {project.ls_id} {problem.subject}"
        message = problem.sentence.removesuffix(f"; {problem.advice}")
        yield warning(name, message, problem.advice)

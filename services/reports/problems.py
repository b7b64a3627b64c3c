"""Why images and labels of a project can't be used, in words, with counts and examples."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from services.labels.label_faults import FaultKind
from services.labels.labelled_tasks import FaultyTasks, LabelCounts, count_labels
from services.labels.project_config import label_config_of
from services.reports.problem_words import image_advice, label_words, missing_image_advice
from services.sync.unreadable import unreadable_annotations
from store.projects.projects import Project
from store.tasks.image_problems import (
    ImageProblem,
    ImageState,
    any_usable_image,
    image_problems,
)
from store.tasks.labelled import unmarked_tasks
from store.tasks.tasks import task_data
from studio.config import LabelConfig

SHOWN = 6  # problems of images, and as many of labels

IMAGES, LABELS = "images", "labels"  # what a problem is of

STATES = {
    ImageState.UNUSABLE: "can't be used",
    ImageState.MISSING: "can't be used",
    ImageState.WAITING: "could not be loaded yet",
    ImageState.SUSPICIOUS: "may not be what they should",
}
# Of labels that are usable in part, or that people make on purpose: they matter only alone.
ALONE = frozenset({FaultKind.NOT_LEARNED, FaultKind.EMPTY})


@dataclass(frozen=True)
class Problem:
    """Images or labels with the same problem. `kind` is the same text for all with it."""

    subject: str  # images, labels
    state: str  # unusable, missing, waiting, suspicious
    kind: str
    count: int
    tasks: tuple[int, ...]  # the first few
    example: str  # the message of the first
    advice: str  # what to do
    sentence: str  # all of it, for people


@dataclass(frozen=True)
class Problems:
    """All problems of a project. `blocking` says why there is nothing to learn from."""

    images: tuple[Problem, ...]
    labels: tuple[Problem, ...]
    labelled: int  # tasks with a usable label
    blocking: str | None

    @property
    def all(self) -> tuple[Problem, ...]:
        """Those of labels, then those of images."""
        return self.labels + self.images


def find_problems(db: Connection, project: Project) -> Problems:
    """Read what is wrong with a project's images and labels."""
    config = label_config_of(project)
    counts = count_labels(db, project.id, config)
    if not config.controls:  # the project's reason says why
        return Problems((), (), counts.labelled, None)
    images = tuple(_of_images(db, project, config))
    labels = tuple(_of_labels(db, project, config, counts))
    blocking = _blocking(db, project, counts, images, labels)
    return Problems(images, labels, counts.labelled, blocking)


def _blocking(
    db: Connection,
    project: Project,
    counts: LabelCounts,
    images: tuple[Problem, ...],
    labels: tuple[Problem, ...],
) -> str | None:
    """Why there is nothing to learn from in spite of labels or images; None where there is."""
    if not counts.labelled and labels:
        return "; ".join(each.sentence for each in labels)
    if not images or unmarked_tasks(db, project.id, 1):  # what these have is not counted yet
        return None
    if any_usable_image(db, project.id, labelled=counts.labelled > 0):
        return None
    why = "; ".join(each.sentence for each in images if each.state != ImageState.SUSPICIOUS)
    whose = "labelled task" if counts.labelled else "task"
    return f"no {whose} has an image that can be used: {why}" if why else None


def _of_images(db: Connection, project: Project, config: LabelConfig) -> Iterable[Problem]:
    merged: dict[tuple[ImageState, str], ImageProblem] = {}
    for found in image_problems(db, project.id):
        kind = found.kind
        if found.state is ImageState.MISSING:
            kind = f"the task has no image at {config.controls[0].image_value}"
        before = merged.get((found.state, kind))
        merged[found.state, kind] = ImageProblem(
            found.state,
            kind,
            found.images + (before.images if before else 0),
            tuple(sorted({*found.tasks, *(before.tasks if before else ())}))[:3],
            before.example if before else found.example,
        )
    shown = sorted(merged.values(), key=lambda each: -each.images)
    others = shown[SHOWN:]
    if others:
        tasks = tuple(sorted({task for each in others for task in each.tasks}))[:3]
        count = sum(each.images for each in others)
        shown[SHOWN:] = [ImageProblem(ImageState.UNUSABLE, "other reasons", count, tasks, "")]
    for found in shown:
        advice = image_advice(found.kind, project.ls_id)
        if found.state is ImageState.MISSING:
            data = task_data(db, project.id, found.tasks[:1]).get(found.tasks[0], {})
            advice = missing_image_advice(config, data)
        yield _of_image(found, advice)


def _of_image(found: ImageProblem, advice: str) -> Problem:
    noun = "1 image" if found.images == 1 else f"{found.images} images"
    example = found.example
    detail = example.partition(": ")[2] if example.startswith(found.kind) else example
    where = _where(found.tasks, found.images, detail)
    sentence = f"{noun} {STATES[found.state]}: {found.images} × {found.kind} ({where})" + (
        f"; {advice}" if advice else ""
    )
    tasks = tuple(map(int, found.tasks))
    return Problem(
        IMAGES,
        found.state,
        found.kind,
        found.images,
        tasks,
        example or found.kind,
        advice,
        sentence,
    )


def _of_labels(
    db: Connection, project: Project, config: LabelConfig, counts: LabelCounts
) -> Iterable[Problem]:
    faults = sorted(
        counts.faults.items(),
        key=lambda item: (item[0][0] is FaultKind.EMPTY, -item[1].count, item[0]),
    )
    shown = [each for each in faults if each[0][0] not in ALONE or not counts.labelled]
    for (kind, control), faulty in shown[:SHOWN]:
        yield _of_label(project, config, kind, control, faulty)
    unreadable = unreadable_annotations(db, project.id)
    known = task_data(db, project.id, list(unreadable))
    unreadable = {task: reason for task, reason in unreadable.items() if task in known}
    if unreadable:
        (task, reason), count = next(iter(unreadable.items())), len(unreadable)
        noun = "1 annotation" if count == 1 else f"{count} annotations"
        kind_text = "unreadable"
        advice = "open them in Label Studio and submit them again"
        sentence = f"{noun} can't be read ({_where([task], count, reason)}); {advice}"
        tasks = tuple(list(unreadable)[:3])
        yield Problem(LABELS, "unusable", kind_text, count, tasks, reason, advice, sentence)


def _of_label(
    project: Project, config: LabelConfig, kind: FaultKind, control: str, faulty: FaultyTasks
) -> Problem:
    words = label_words(kind, control, faulty.details.keys(), config, project.ls_id)
    tasks = tuple(sorted(map(int, faulty.tasks)))[:3]
    said = f"1 label {words.one}" if faulty.count == 1 else f"{faulty.count} labels {words.several}"
    of = f"of {control}" if len(config.controls) > 1 and kind is FaultKind.UNKNOWN_CLASS else ""
    sentence = f"{said} ({_where(tasks, faulty.count, of)})"
    sentence += f"; {words.advice}" if words.advice else ""
    example = ", ".join(sorted(faulty.details))
    return Problem(
        LABELS, "unusable", str(kind), faulty.count, tasks, example, words.advice, sentence
    )


def _where(tasks: Iterable[int], count: int, detail: str) -> str:
    first = next(iter(tasks))
    where = f"task {first}" + (f": {detail}" if detail else "")
    return f"{where}, …" if count > 1 else where

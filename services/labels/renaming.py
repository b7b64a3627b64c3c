"""Maps classes and control tags that labels name to those that the label config has now."""

from dataclasses import dataclass

from sqlalchemy import Connection

from services.labels.label_faults import FaultKind, name_of_path
from services.labels.labelled_tasks import count_labels
from services.labels.project_config import label_config_of
from store.projects.projects import Project, change_project, get_project
from store.work import pending_work
from store.work.work_kind import WorkKind
from studio.config import LabelConfig
from studio.controls import Control
from studio.renames import ClassRename, ControlRename, Renames


class RenameError(Exception):
    """Raised for a rename that makes no sense; the message says why, and what could be meant."""


@dataclass(frozen=True)
class UnknownName:
    """A class, or a control tag, that labels name and the config doesn't have.

    `suggestion` is its name now, where an alias tells it.
    """

    control: str
    name: str | None  # of the class; None: the control tag itself is unknown
    labels: int
    suggestion: str | None = None


@dataclass(frozen=True)
class NameChange:
    """A rename for people: of a class of a control, or, without a control, of a control tag."""

    control: str | None
    old: str
    new: str


def unknown_names(db: Connection, project: Project) -> list[UnknownName]:
    """The names in labels that the config doesn't have, those of most labels first."""
    config = label_config_of(project)
    names = [
        UnknownName(control, None, faulty.count)
        if kind is FaultKind.UNKNOWN_CONTROL
        else UnknownName(control, name, labels, _alias(config, control, name))
        for (kind, control), faulty in count_labels(db, project.id, config).faults.items()
        for name, labels in faulty.details.items()
        if kind in (FaultKind.UNKNOWN_CLASS, FaultKind.UNKNOWN_CONTROL)
    ]
    return sorted(names, key=lambda each: (-each.labels, each.control, each.name or ""))


def list_renames(project: Project) -> list[NameChange]:
    """The project's renames, the oldest first."""
    renames = Renames.from_json(project.renames)
    return [
        *(NameChange(None, each.old, each.new) for each in renames.controls),
        *(
            NameChange(each.control, name_of_path(each.old), name_of_path(each.new))
            for each in renames.classes
        ),
    ]


def change_name(
    db: Connection,
    project: Project,
    old: str,
    new: str | None,
    *,
    control: str | None = None,
    tag: bool = False,
) -> NameChange:
    """Rename a class, or with `tag` a control tag; without a new name, undo its rename.

    Raises:
        RenameError: it makes no sense.
    """
    project = get_project(db, project.id) or project  # as it is in this transaction
    if new is None:
        return undo_rename(db, project, old, control, tag=tag)
    if tag:
        return rename_control(db, project, old, new)
    return rename_class(db, project, old, new, control)


def rename_class(
    db: Connection, project: Project, old: str, new: str, control: str | None = None
) -> NameChange:
    """Read the class `old` in labels as `new` from now on, and learn from them.

    Args:
        old, new: a class's name; for trees the path from the root, such as "animal / cat".
        control: the control tag's name; None where only one can be meant.

    Raises:
        RenameError: there is no such control or new class, or the config still has the old one.
    """
    config = label_config_of(project)
    of = _control(db, project, config, old, control)
    old_path, new_path = of.path_of(old), of.path_of(new)
    if of.has_class(old_path):
        raise RenameError(f"the config still has {old!r}: its labels count as they are")
    if not of.takes_class(new_path):
        raise RenameError(f"{of.name} has no class {new!r}: its name is as in the label config")
    _save(db, project, ClassRename(of.name, old_path, new_path), undo=False)
    return NameChange(of.name, old, name_of_path(new_path))


def rename_control(db: Connection, project: Project, old: str, new: str) -> NameChange:
    """Read labels of the control tag `old` as those of `new` from now on.

    Raises:
        RenameError: the config has no learned control `new`, or still has `old`.
    """
    config = label_config_of(project)
    learned = [control.name for control in config.controls]
    if new not in learned:
        known = ", ".join(learned) or "none"
        raise RenameError(f"the config has no learned control {new!r}; it has: {known}")
    if old in learned or any(each.name == old for each in config.skipped):
        raise RenameError(f"the config still has a control {old!r}: its labels count as they are")
    _save(db, project, ControlRename(old, new), undo=False)
    return NameChange(None, old, new)


def undo_rename(
    db: Connection, project: Project, old: str, control: str | None = None, *, tag: bool = False
) -> NameChange:
    """Forget a rename: the labels count as they are written.

    Args:
        tag: whether `old` is a control tag's name.

    Raises:
        RenameError: nothing, or more than one class, of that name was renamed.
    """
    renames = Renames.from_json(project.renames)
    classes = [
        each
        for each in renames.classes
        if not tag and name_of_path(each.old) == old and control in (None, each.control)
    ]
    controls = [each for each in renames.controls if tag and each.old == old]
    matches: list[ClassRename | ControlRename] = [*classes, *controls]
    if not matches:
        known = ", ".join(each.old for each in list_renames(project)) or "nothing"
        raise RenameError(f"{old!r} was not renamed; renamed were: {known}")
    if len(matches) > 1:
        raise RenameError(f"{old!r} was renamed in several controls: say in which")
    (match,) = matches
    _save(db, project, match, undo=True)
    if isinstance(match, ControlRename):
        return NameChange(None, match.old, match.new)
    return NameChange(match.control, old, name_of_path(match.new))


def _save(
    db: Connection, project: Project, rename: ClassRename | ControlRename, *, undo: bool
) -> None:
    before = Renames.from_json(project.renames)
    renames = before.without(rename) if undo else before.added(rename)
    change_project(db, project.id, renames=renames.to_json())
    pending_work.want(db, project.id, WorkKind.LEARN)


def _alias(config: LabelConfig, control: str, name: str) -> str | None:
    for each in config.aliases:
        if each.control == control and name_of_path(each.old) == name:
            return name_of_path(each.new)
    return None


def _control(
    db: Connection, project: Project, config: LabelConfig, old: str, name: str | None
) -> Control:
    """The control that is meant."""
    if name is None:
        naming = {each.control for each in unknown_names(db, project) if each.name == old}
        possible = [each for each in config.controls if each.name in naming] or config.controls
        if len(possible) == 1:
            return possible[0]
        names = ", ".join(each.name for each in possible) or f"none: {config.reason}"
        raise RenameError(f"which control is meant? There are: {names}")
    control = config.control(name)
    if control is None:
        known = ", ".join(each.name for each in config.controls) or "none"
        raise RenameError(f"the config has no learned control {name!r}; it has: {known}")
    return control

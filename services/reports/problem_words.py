"""The words for what is wrong with images and labels, and for what to do about it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from services.labels.label_faults import FaultKind, name_of_path
from studio.config import LabelConfig
from studio.task_values import read_value

NAMES = 5  # of classes that are listed
FIELDS = 10  # of a task's data

OPEN = (
    "open one of these tasks in Label Studio: what the browser doesn't show either is to be mended"
)
# (a part of an image's problem, what to do); the first that fits.
IMAGE_ADVICE = (
    (
        "our token",
        "connect again with a token that is valid: `apprentice connect --project {project}`",
    ),
    ("answers 403", "give the token's user access to the project and its storage"),
    ("uploaded file", "import the file again, or delete the task"),
    ("answers 404", "the file isn't there any more: import it again, or delete the task"),
    ("answers 410", "the file isn't there any more: import it again, or delete the task"),
    ("not a public address", "APPRENTICE_IMAGE_PRIVATE_ADDRESSES=true allows private addresses"),
    ("can't be reached", "is that server up, and reached from this machine?"),
    ("did not answer", "is that server up, and reached from this machine?"),
    ("took more than", "APPRENTICE_IMAGE_TIMEOUT_SECONDS allows more time"),
    ("too many pixels", "scale it down, or raise APPRENTICE_IMAGE_MAX_PIXELS"),
    ("too big", "compress it, or raise APPRENTICE_IMAGE_MAX_BYTES"),
    ("only be fetched through Label Studio", "connect: `apprentice connect --project {project}`"),
    ("no address", "the field of the task that the label config names must hold a URL"),
    ("not an image", "convert it to JPEG or PNG, or correct the URL"),
    ("broken", "export the file again, and import it anew"),
    ("empty", "export the file again, and import it anew"),
    ("suspicious", "look at it: its values may lie in a small part of their range"),
)


def image_advice(kind: str, project: int) -> str:
    """What to do about images with a problem of this kind, in Label Studio's project."""
    for part, advice in IMAGE_ADVICE:
        if part in kind:
            return advice.format(project=project)
    return OPEN


def missing_image_advice(config: LabelConfig, data: Mapping[str, Any]) -> str:
    """What the data of a task hold in place of an image."""
    control = config.controls[0]
    if not control.multi_image:
        value = read_value(control.image_value, data)
        if isinstance(value, list):
            return "there is a list: `valueList` in place of `value` shows all of its images"
        if isinstance(value, str):
            return "the text there is empty"
        if value is not None:
            return "what is there is no text, so no address of an image"
    fields = ", ".join(sorted(data)[:FIELDS]) or "no field at all"
    attribute = "valueList" if control.multi_image and control.repeat is None else "value"
    return f"the task has {fields}: `{attribute}` in the label config must name the image"


@dataclass(frozen=True)
class LabelWords:
    """What is wrong with one label, or with several, and what to do about it."""

    one: str
    several: str
    advice: str = ""


def label_words(
    kind: FaultKind, control: str, details: Collection[str], config: LabelConfig, project: int
) -> LabelWords:
    """The words for labels that can't be learned.

    Args:
        details: names of classes or types.
        project: its id in Label Studio, for commands.
    """
    names = sorted(filter(None, details))
    listed = ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if names[NAMES:] else "")
    match kind:
        case FaultKind.UNKNOWN_CLASS:
            return LabelWords(
                f"names a class that the config no longer has: {listed}",
                f"name classes that the config no longer has: {listed}",
                f"map them: {_rename(control, names[0], config, project)}",
            )
        case FaultKind.UNKNOWN_CONTROL:
            command = f"apprentice rename --project {project} --tag {_quoted(control)} NEW"
            what = f"of a control that the config doesn't have: {control}"
            return LabelWords(f"is {what}", f"are {what}", f"if it was renamed: `{command}`")
        case FaultKind.NOT_LEARNED:
            why = next((str(each) for each in config.skipped if each.name == control), control)
            what = f"of a control that is not learned: {why}"
            return LabelWords(f"is {what}", f"are {what}")
        case FaultKind.OTHER_TYPE:
            what = f"of another type ({listed}) than the control {control}"
            return LabelWords(f"is {what}", f"are {what}", "label these tasks again")
        case FaultKind.OTHER_VALUE:
            what = f"that the control {control} doesn't take, such as several classes for one"
            return LabelWords(
                f"has a value {what}", f"have values {what}", "label these tasks again"
            )
        case FaultKind.NO_IMAGE:
            what = f"for an image that the task can't have, by the control {control}"
            return LabelWords(f"is {what}", f"are {what}", "label these tasks again")
        case FaultKind.EMPTY:
            return LabelWords("says nothing", "say nothing", "choose something before submitting")


def _rename(control: str, name: str, config: LabelConfig, project: int) -> str:
    """The command that maps a class; its new name where an alias tells it."""
    aliases = {
        name_of_path(each.old): name_of_path(each.new)
        for each in config.aliases
        if each.control == control
    }
    new = _quoted(aliases[name]) if name in aliases else "NEW"
    of = f" --control {_quoted(control)}" if len(config.controls) > 1 else ""
    return f"`apprentice rename --project {project}{of} {_quoted(name)} {new}`"


def _quoted(name: str) -> str:
    """A name as a shell takes it."""
    return name if name.replace("_", "").replace("-", "").isalnum() else f"'{name}'"

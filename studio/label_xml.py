"""Reads the control tags of a label config as Label Studio's editor reads them.

The editor takes tags and attributes in any case, a tag's text for its value, a missing `toName` for
the only object, and makes the children of a `Repeater` once for each entry of a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.targets.schema import Path
from studio.controls import Tag, known_tags
from studio.controls.repeat import Repeat
from studio.task_values import is_variable

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# Named tags with a `toName` or `name` that label nothing.
NO_CONTROLS = frozenset({"filter"})


class UnusableConfigError(Exception):
    """Raised for a label config from which nothing can be learned; the message says why."""


@dataclass(frozen=True)
class SkippedControl:
    """A control tag that is not learned, with the reason."""

    name: str
    tag: str
    reason: str

    def __str__(self) -> str:
        return f"{self.tag} {self.name!r}: {self.reason}"


def read_tags(xml: str) -> tuple[list[Tag], list[SkippedControl]]:
    """The control tags that label one image, in the config's order, and the other control tags.

    Raises:
        UnusableConfigError: the config is empty, malformed, or shows no image.
    """
    if not xml.strip():
        raise UnusableConfigError("the project has no label config yet")
    root = _parse(xml)
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    named = {name: element for element in elements if (name := _get(element, "name"))}
    images = {name for name, element in named.items() if _kind(element) == "image"}
    if not images:
        raise UnusableConfigError(
            "the label config shows no image: only labels of images are learned"
        )
    objects = [name for name, element in named.items() if _is_object(element)]
    tags: list[Tag] = []
    skipped: list[SkippedControl] = []
    for name, element in named.items():
        to_names = _to_names(element, objects)
        if not to_names:
            continue
        reason = _why_not_one_image(to_names, images)
        if reason is None:
            image = named[to_names[0]]
            repeat, reason = _repeat_of(element, image)
        if reason is None:
            tags.append(_tag(element, image, repeat))
        else:
            skipped.append(SkippedControl(name, _tag_name(element), reason))
    return tags, skipped


def _parse(xml: str) -> Element:
    from lxml import etree  # here: a process that parses no config needs no lxml

    # The text is decoded already, whatever its declaration says; DTDs are refused by Label Studio.
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(xml.strip().encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise UnusableConfigError(f"the label config can't be read: {exc}"[:300]) from exc


def _get(element: Element, name: str) -> str | None:
    """An attribute's value; its name is taken in any case."""
    value: str | None = element.get(name)
    if value is not None:
        return value
    values = (value for key, value in element.items() if key.lower() == name.lower())
    return next(values, None)


def _kind(element: Element) -> str:
    return str(element.tag).lower()


def _tag_name(element: Element) -> str:
    """The tag's name as the documentation spells it, where it is one that is learned."""
    kind = _kind(element)
    return next((known for known in known_tags() if known.lower() == kind), str(element.tag))


def _value(element: Element) -> str:
    """A tag's value: its text, or its attribute `value`."""
    text = "".join(element.itertext()).strip() if len(element) == 0 else ""
    return text or _get(element, "value") or ""


def _is_object(element: Element) -> bool:
    """Whether a named tag shows a part of the task, so that controls may label it."""
    shows = _value(element) or _get(element, "valueList")
    return bool(shows) and _get(element, "toName") is None and not _is_known(element)


def _is_known(element: Element) -> bool:
    return _tag_name(element) in known_tags()


def _to_names(element: Element, objects: list[str]) -> list[str]:
    """The names of the objects that a control labels; none for other tags."""
    if _kind(element) in NO_CONTROLS:
        return []
    to_name = _get(element, "toName")
    if to_name:
        return [name.strip() for name in to_name.split(",")]
    return objects if len(objects) == 1 and _is_known(element) else []


def _why_not_one_image(to_names: list[str], images: set[str]) -> str | None:
    if len(to_names) == 1 and to_names[0] in images:
        return None
    return "it labels several objects at once" if images & set(to_names) else "it labels no image"


def _repeaters(element: Element) -> list[Element]:
    return [above for above in element.iterancestors() if _kind(above) == "repeater"]


def _repeat_of(control: Element, image: Element) -> tuple[Repeat | None, str | None]:
    """The Repeater around a control and its image, or why the two can't be learned."""
    of_control, of_image = _repeaters(control), _repeaters(image)
    if not of_control and not of_image:
        return None, None
    if len(of_control) > 1 or len(of_image) > 1:
        return None, "a Repeater within a Repeater is not learned"
    if not of_image:
        return None, "it is repeated for one image: only a Repeater with an image is learned"
    if not of_control:
        return None, "it labels one image of a Repeater: only one for each image is learned"
    repeat = _repeat(of_control[0])
    flag, shows = repeat.flag, _get(image, "valueList") or _value(image)
    if _repeat(of_image[0]) != repeat:
        return None, 'its Repeater has another "on" or "indexFlag" than that of its image'
    if not is_variable(repeat.on):
        return None, f'its Repeater\'s on="{repeat.on}" is no value of the form "$images"'
    if flag not in (_get(control, "name") or "") or flag not in (_get(control, "toName") or ""):
        return None, f"its name or toName lacks the {flag} of its Repeater"
    if flag not in shows:
        return None, f"its image lacks the {flag} of its Repeater: all are the same"
    if _get(image, "valueList"):
        return None, "a list of images within a Repeater is not learned"
    choices = [choice for choice in control.iter() if _kind(choice) == "choice"]
    if any(flag in "".join(map(str, choice.values())) for choice in choices):
        return None, f"its choices differ by the {flag} of its Repeater"
    return repeat, None


def _repeat(element: Element) -> Repeat:
    return Repeat((_get(element, "on") or "").strip(), _get(element, "indexFlag") or Repeat.flag)


def _tag(element: Element, image: Element, repeat: Repeat | None) -> Tag:
    choices = [
        each for each in element.iter() if _kind(each) == "choice" and _class(each) is not None
    ]
    image_list = _get(image, "valueList")
    return Tag(
        tag=_tag_name(element),
        name=_get(element, "name") or "",
        to_name=(_get(element, "toName") or _get(image, "name") or "").strip(),
        attributes={key.lower(): value for key, value in element.items()},
        paths=tuple(dict.fromkeys(map(_path, choices))),
        image_value=image_list or _value(image),
        image_list=bool(image_list),
        variable=any(_is_variable(choice, element) for choice in choices),
        spellings=dict(_spellings(choices)),
        repeat=repeat,
        conditional=any(_get(above, "visibleWhen") for above in element.iterancestors()),
    )


def _class(choice: Element) -> str | None:
    """The name of a choice in results; None for one without."""
    return _get(choice, "alias") or _value(choice) or None


def _is_variable(choice: Element, control: Element) -> bool:
    """Whether the task's data determine a choice's name, or how often there is one."""
    return is_variable(_value(choice)) or len(_repeaters(choice)) > len(_repeaters(control))


def _path(choice: Element) -> Path:
    """A choice from the root: the choices around it, and itself."""
    above = [each for each in choice.iterancestors() if _kind(each) == "choice"]
    return tuple(name for each in (*reversed(above), choice) if (name := _class(each)))


def _spellings(choices: list[Element]) -> Iterator[tuple[Path, Path]]:
    """(path that ends in a choice's value, path) of choices with an alias.

    Annotations from before the alias have the value, and the editor takes both.
    """
    paths = set(map(_path, choices))
    for choice in choices:
        path, value = _path(choice), _value(choice)
        spelled = (*path[:-1], value)
        if value and spelled not in paths:
            yield spelled, path

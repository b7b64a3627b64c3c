"""`Taxonomy` on an image: places in a tree of classes."""

from __future__ import annotations

from model.targets.schema import Paths
from studio.controls.base import ControlTarget, NotLearnedError, Tag
from studio.controls.paths import PathControl
from studio.controls.registry import register


@register("Taxonomy")
def taxonomy(tag: Tag) -> PathControl:
    """A control for a taxonomy on one image. Raises NotLearnedError.

    An annotation without it says nothing: a taxonomy asks what something is, not whether.
    """
    target = ControlTarget.of(tag)
    if tag.variable:
        raise NotLearnedError("a choice whose own value comes from a task's data is not learned")
    if tag.flag("labeling"):
        raise NotLearnedError("a taxonomy that labels regions is not learned")
    comes_later = tag.options_value is not None or bool(tag.get("apiUrl"))
    if not tag.paths and not comes_later:
        raise NotLearnedError("it has no choices")
    multiple = tag.get("maxUsages").strip() != "1"
    schema = Paths(tag.paths, multiple, leaves_only=tag.flag("leafsOnly"), open=comes_later)
    # The bulk import looks at the config's own classes alone, if there are any.
    bulk = not (tag.paths and comes_later)
    return PathControl(target, schema, tag.options_value, None, bulk)

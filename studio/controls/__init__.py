"""The control tags that are learned, one module each, found by the name of their tag.

To add one: a module in this folder with a function under `@register("TagName")`; nothing else.
"""

from studio.controls.base import Control, ControlFactory, NotLearnedError, Tag
from studio.controls.registry import known_tags, make, register

__all__ = ["Control", "ControlFactory", "NotLearnedError", "Tag", "known_tags", "make", "register"]

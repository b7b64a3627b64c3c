"""Controls within a `Repeater`, which has one of them for each entry of a list in the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.task_values import read_value

MOST_IMAGES = 1_000  # of one task that are looked at


@dataclass(frozen=True)
class Repeat:
    """The `Repeater` around a control: `on`, such as "$pages", and its `indexFlag`.

    The editor replaces the flag in all attributes by the index of the list's entry, from 0.
    """

    on: str
    flag: str = "{{idx}}"

    def at(self, template: str, index: int) -> str:
        """An attribute's value at an index."""
        return template.replace(self.flag, str(index))

    def index_of(self, name: str, template: str) -> int | None:
        """The index at which `template` is `name`; None when there is none."""
        pattern = "(0|[1-9][0-9]{0,8})".join(map(re.escape, template.split(self.flag, 1)))
        match = re.fullmatch(pattern.replace(re.escape(self.flag), r"\1"), name)
        return int(match[1]) if match else None

    def count(self, data: Mapping[str, Any]) -> int:
        """The number of entries of the list in a task's data, at most MOST_IMAGES."""
        listed = read_value(self.on, data)
        return min(len(listed), MOST_IMAGES) if isinstance(listed, list) else 0

"""Answer groups: tasks whose controls all have the same labels."""

from collections.abc import Iterable
from typing import Any

JOIN = "; "  # between what is said in several controls


def group_of(labels: Iterable[tuple[str, Any]]) -> str:
    """The name of the group of a task with these labels, (control, label as JSON)."""
    names = {(control, _name(value)) for control, value in labels}
    return JOIN.join(name for _, name in sorted(names))


def _name(plain: Any) -> str:
    return ", ".join(map(str, plain)) if isinstance(plain, list) else str(plain)

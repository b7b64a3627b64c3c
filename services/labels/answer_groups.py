"""Answer groups: tasks whose controls all have the same labels."""

from collections.abc import Iterable

from model.targets.encoding import plain_value
from model.targets.schema import Value

JOIN = "; "  # between what is said in several controls


def group_of(said: Iterable[tuple[str, Value]]) -> str:
    """What was said of a task, (control, label), as one name."""
    names = {(control, _name(value)) for control, value in said}
    return JOIN.join(name for _, name in sorted(names))


def _name(value: Value) -> str:
    plain = plain_value(value)
    return ", ".join(plain) if isinstance(plain, list) else str(plain)

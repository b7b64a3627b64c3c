"""Reads values of a task's data as Label Studio's editor reads them.

A tag's `value`, such as `$image`, `$meta.image` or `$pages[0].url`, is a path in the sense of
lodash's `get` (https://lodash.com/docs/#get).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# The editor's: a variable in a value (parseValue in its utils/data.js).
VARIABLE = re.compile(r"\$[A-Za-z0-9_\[\].{}]+")
# lodash's: names and indices of a path, and whether a text is a path at all.
_PLAIN = re.compile(r"[A-Za-z0-9_]*")
_DEEP = re.compile(r"""\.|\[(?:[^\[\]]*|(["'])(?:(?!\1)[^\\]|\\.)*?\1)\]""")
_PARTS = re.compile(
    r"""[^.\[\]]+|\[(?:(-?\d+(?:\.\d+)?)|(["'])((?:(?!\2)[^\\]|\\.)*?)\2)\]"""
    r"""|(?=(?:\.|\[\])(?:\.|\[\]|\Z))""",
    re.ASCII,
)
_ESCAPED = re.compile(r"\\(\\)?")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # of a list; "01" is no index


def is_variable(template: str) -> bool:
    """Whether a tag's `value` depends on the task's data."""
    return VARIABLE.search(template) is not None


def read_value(template: str, data: Mapping[str, Any]) -> Any:
    """The value of a tag's `value` or `valueList` in a task's data; None when it isn't there.

    A template that is one variable gives what the data hold there: text, a list, an object. In any
    other template the variables are replaced by texts and numbers, such as "$host/$name".
    Blanks around it are ignored. A key that a variable can't spell is found by its whole name, as
    in "$my-image", and a path with quotes as lodash reads it; the editor knows neither.
    """
    template = template.strip()
    if VARIABLE.fullmatch(template):
        return get_path(data, template[1:])
    if template.startswith("$"):
        value = get_path(data, template[1:])
        if value is not None:
            return value
    texts = [_text(get_path(data, variable[1:])) for variable in VARIABLE.findall(template)]
    if None in texts:
        return None
    replacements = iter(texts)
    return VARIABLE.sub(lambda _: next(replacements) or "", template)


def get_path(data: Any, path: str) -> Any:
    """The value at a path as lodash's `get` finds it; None when there is none.

    A key of `data` that is spelled like the path comes before the path's parts.
    """
    parts = _parts_of(data, path)
    value = data if parts else None
    for part in parts:
        value = _member(value, part)
    return value


def _parts_of(data: Any, path: str) -> tuple[str, ...]:
    is_key = _PLAIN.fullmatch(path) or not _DEEP.search(path)
    if is_key or (isinstance(data, Mapping) and path in data):
        return (path,)
    return _split(path)


@lru_cache(maxsize=256)
def _split(path: str) -> tuple[str, ...]:
    parts = [""] if path.startswith(".") else []
    for match in _PARTS.finditer(path):
        number, quote, quoted = match.groups()
        parts.append(_ESCAPED.sub(r"\1", quoted) if quote else number or match.group())
    return tuple(parts)


def _member(value: Any, name: str) -> Any:
    """The property of a value of JSON, in JavaScript's sense."""
    if isinstance(value, Mapping):
        return value.get(name)
    if isinstance(value, (list, str)):
        if name == "length":
            return len(value)
        if _INDEX.fullmatch(name) and int(name) < len(value):
            return value[int(name)]
    return None


def _text(value: Any) -> str | None:
    """A text or number within a longer text; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, (str, int, float)) else None

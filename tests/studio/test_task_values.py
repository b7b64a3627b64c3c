"""Values of a task's data are found where Label Studio's editor finds them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.task_values import get_path, is_variable, read_value

DATA: dict[str, Any] = {
    "a": {"0": "zero", "b": [{"c": "x"}, {"c.d": "y"}], "": "empty", "k k": "space"},
    "a.b": "literal",
    "m[0]": "bracket",
    "l": ["p", "q", ["r"]],
    "t": "text",
    "": {"": "ee"},
    "n": None,
    "é": {"u": 1},
    "z": {
        "-1": "minus",
        "1.5": "half",
        "01": "lead",
        "x]y": "close",
        'q"t': "quote",
        "b\\s": "slash",
        "length": "own",
    },
}
# What lodash.get 4.4.2, which the editor uses, says of these data.
LODASH: list[tuple[str, Any]] = [
    ("t", "text"),
    ("n", None),
    ("n.x", None),
    ("none", None),
    ("none.x", None),
    ("a.b", "literal"),
    ("a.b[0]", {"c": "x"}),
    ("a.b[0].c", "x"),
    ("a.b.0.c", "x"),
    ("a['b'][1]['c.d']", "y"),
    ('a["b"][1]["c.d"]', "y"),
    ("a[b][0].c", "x"),
    ("a.", "empty"),
    ("a.[]", None),
    (".", "ee"),
    ("", {"": "ee"}),
    ("a.0", "zero"),
    ("a[0]", "zero"),
    ("a['k k']", "space"),
    ("a[k k]", "space"),
    ("m[0]", "bracket"),
    ("m.0", None),
    ("l[0]", "p"),
    ("l.1", "q"),
    ("l[2][0]", "r"),
    ("l[-1]", None),
    ("l[01]", None),
    ("l[3]", None),
    ("l.length", 3),
    ("t.length", 4),
    ("t[0]", "t"),
    ("t[9]", None),
    ("z[-1]", "minus"),
    ("z[1.5]", "half"),
    ("z['01']", "lead"),
    ("z[01]", "lead"),
    ("z['x]y']", "close"),
    ("z['q\"t']", "quote"),
    ('z["q\\"t"]', "quote"),
    ("z['b\\\\s']", "slash"),
    ("z.length", "own"),
    ("é.u", 1),
    ("[", None),
    ("]", None),
    ("[]", {"": "ee"}),
    ("l[]", None),
    ("l[", None),
    ("l]0", None),
    ("a..b", None),
    ("[0]", None),
    ("l.0.0", "p"),
    ("l.0.length", 1),
    ("a.b[0].c.length", 1),
]


@pytest.mark.parametrize(("path", "value"), LODASH)
def test_a_path_is_read_as_lodash_reads_it(path: str, value: Any) -> None:
    assert get_path(DATA, path) == value


Json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.[]0'\"\\ é", max_size=3), inner)
    ),
    max_leaves=12,
)


def walk(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """(path, value) of everything in a JSON value."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [(path, value)] + [each for key, below in inner for each in walk(below, (*path, key))]


def quoted(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return "['" + part.replace("\\", "\\\\").replace("'", "\\'") + "']"


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), Json, min_size=1))
def test_every_value_has_a_path_that_finds_it(data: dict[str, Any]) -> None:
    for (root, *rest), value in walk(data)[1:]:
        path = str(root) + "".join(map(quoted, rest))
        assert get_path(data, path) == value
        assert read_value("$" + path, data) == value


@given(Json, st.text("ab.[]0'\"\\ $", max_size=8))
def test_no_path_and_no_data_raise(data: Any, path: str) -> None:
    get_path(data, path)
    read_value(path, data if isinstance(data, dict) else {"a": data})


@given(st.dictionaries(st.text("ab.[]0-'$", max_size=5), Json))
def test_a_key_that_is_spelled_like_the_path_comes_first(data: dict[str, Any]) -> None:
    for key, value in data.items():
        assert get_path(data, key) == value


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("$t", "text"),
        (" $t\n", "text"),
        ("$l", ["p", "q", ["r"]]),
        ("$a.b", "literal"),
        ("$my-image", "hyphen"),
        ("http://h/$t.jpg", None),  # the editor takes "t.jpg" for the path
        ("http://h/$t/$n1-$f", "http://h/text/7-2"),
        ("http://h/$none", None),
        ("http://h/$l", None),
        ("${t}", None),
        ("$ t", "$ t"),
        ("t", "t"),
        ("", ""),
    ],
)
def test_templates(template: str, value: Any) -> None:
    data = DATA | {"my-image": "hyphen", "n1": 7, "f": 2.0}
    assert read_value(template, data) == value


def test_what_depends_on_the_data() -> None:
    assert all(map(is_variable, ("$a", "${a}", "x $a", "$a.b[0]")))
    assert not any(map(is_variable, ("a", "$", "$ a", "")))

import sys
from pathlib import Path

import pytest

from services.guests.specification import GuestSettingError, guest_specs
from store.settings import Settings
from tests.support.guests import OLDER, RECTANGLES


def specs(guests: str | None, python: str | None = None):
    return guest_specs(Settings(guests=guests, guest_python=python))


def test_no_guest_is_the_default() -> None:
    assert specs(None) == ()


def test_a_guest_has_the_controls_that_it_was_given() -> None:
    first, second = specs(f"{RECTANGLES}@box, mask ; {OLDER}")
    assert (first.name, first.controls, first.python) == (
        "Rectangles",
        ("box", "mask"),
        sys.executable,
    )
    assert second.controls == ()
    assert first.serves({"box", "kind"})
    assert not first.serves({"kind"})
    assert second.serves({"kind"})
    assert not second.serves(set())  # a config that can't be read


def test_two_guests_of_one_class_have_two_names() -> None:
    assert [spec.name for spec in specs(f"{OLDER}@one; {OLDER}@two")] == [
        "MostFrequent",
        "MostFrequent-2",
    ]


def test_interpreters_are_for_all_or_one_each(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    both = f"{RECTANGLES}@a; {OLDER}@b"
    assert {spec.python for spec in specs(both, str(python))} == {str(python)}
    assert [spec.python for spec in specs(both, f"{sys.executable}; {python}")] == [
        sys.executable,
        str(python),
    ]


@pytest.mark.parametrize(
    ("guests", "python", "message"),
    [
        ("model.py", None, "a guest is named as"),
        ("nowhere.py:Model", None, "there is no file"),
        (f"{RECTANGLES}@box; {OLDER}@box", None, "two guests are given the control 'box'"),
        (RECTANGLES, "/nowhere/python", "no Python interpreter"),
        (RECTANGLES, f"{sys.executable};{sys.executable}", "2 interpreters"),
    ],
)
def test_a_wrong_setting_is_explained(guests: str, python: str | None, message: str) -> None:
    with pytest.raises(GuestSettingError, match=message):
        specs(guests, python)

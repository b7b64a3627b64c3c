"""Reading and writing the results of Rating and Number."""

from typing import Any

import pytest

from studio.config import parse_label_config
from studio.controls import Control
from studio.regions import StudioRegion


def control_of(tag: str) -> Control:
    config = parse_label_config(
        f'<View><Image name="image" value="$image"/><{tag} name="k" toName="image"/></View>'
    )
    assert config.reason is None
    return config.controls[0]


def region(value: Any, kind: str = "number") -> StudioRegion:
    return StudioRegion(
        {"from_name": "k", "to_name": "image", "type": kind, "value": {kind: value}}
    )


@pytest.mark.parametrize(
    ("number", "label"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        (True, None),
        ("3", None),
        (None, None),
        ([3], None),
        (-0.1, None),
        (10.1, None),
    ],
)
def test_numbers_are_read(number: Any, label: float | None) -> None:
    control = control_of('Number min="0" max="10"')
    assert control.read([region(number)]) == label


def test_an_unbounded_number() -> None:
    control = control_of("Number")
    assert control.read([region(-1e6)]) == -1e6
    (written,) = control.write(-2.25, 0.5)
    assert written.value == {"number": -2.25}


def test_stars_are_whole_numbers_from_one() -> None:
    control = control_of('Rating maxRating="7"')
    assert control.read([region(7, "rating")]) == 7.0
    assert control.read([region(8, "rating")]) is None
    assert control.read([region(0, "rating")]) is None
    (written,) = control.write(6.0, 0.25)
    assert written.to_json() == region(6, "rating").to_json() | {"score": 0.25}
    assert isinstance(written.value["rating"], int)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 11.0, -1.0, "3", frozenset()])
def test_what_label_studio_would_drop_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError):
        control_of('Number min="0" max="10"').write(value, 0.5)

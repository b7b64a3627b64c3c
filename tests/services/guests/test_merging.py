from services.guests.merging import merge
from services.guests.specification import GuestSpec
from tests.support.guests import RECTANGLES, spec


def guest(name: str, *controls: str) -> GuestSpec:
    return GuestSpec(name, spec(RECTANGLES, python="").file, name, controls, "")


def region(control: str, by: str) -> dict[str, str]:
    return {"from_name": control, "by": by}


OURS = [region("kind", "us"), region("box", "us")]


def test_without_answers_ours_stay() -> None:
    assert merge(OURS, {}, [guest("a")]) == OURS


def test_a_guest_has_the_controls_that_it_answers() -> None:
    merged = merge(OURS, {"a": [region("box", "a"), region("box", "a")]}, [guest("a")])
    assert merged == [region("kind", "us"), region("box", "a"), region("box", "a")]


def test_a_control_that_was_given_away_is_never_ours() -> None:
    assert merge(OURS, {}, [guest("a", "box")]) == [region("kind", "us")]


def test_a_guest_with_controls_of_its_own_answers_no_others() -> None:
    answers = {"a": [region("kind", "a"), region("box", "a")]}
    assert merge(OURS, answers, [guest("a", "box")]) == [region("kind", "us"), region("box", "a")]


def test_of_two_guests_the_first_has_a_control() -> None:
    answers = {"a": [region("kind", "a")], "b": [region("kind", "b"), region("mask", "b")]}
    merged = merge(OURS, answers, [guest("a"), guest("b")])
    assert merged == [region("box", "us"), region("kind", "a"), region("mask", "b")]

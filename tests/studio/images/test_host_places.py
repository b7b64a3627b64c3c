"""How the places of the threads that fetch are shared between hosts."""

import contextlib
import threading

import pytest

from studio.images import host_places
from studio.images.host_places import HostPlaces
from studio.images.policy import PassingImageError, PermanentImageError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_places, "PATIENCE", 0.01)


def prove(places: HostPlaces, host: str) -> None:
    with places.take(host):
        pass


def held(places: HostPlaces, stack: contextlib.ExitStack, host: str, tries: int) -> int:
    """How many of so many places the host gets."""
    count = 0
    with contextlib.suppress(PassingImageError):
        for _ in range(tries):
            stack.enter_context(places.take(host))
            count += 1
    return count


def test_hosts_that_nothing_came_from_leave_places_to_the_others() -> None:
    places = HostPlaces(8)
    prove(places, "good")
    with contextlib.ExitStack() as stack:
        assert held(places, stack, "slow", 8) == 2
        assert sum(held(places, stack, f"slow{number}", 8) for number in range(5)) == 0
        assert held(places, stack, "good", 8) == 5
    with contextlib.ExitStack() as stack:
        assert held(places, stack, "good", 8) == 7


def test_a_host_whose_image_was_given_up_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = HostPlaces(8)
    prove(places, "host")
    monkeypatch.setattr(host_places, "SLOW", 0.0)
    monkeypatch.setattr(host_places, "PATIENCE", 60.0)
    with pytest.raises(PassingImageError, match="timeout"), places.take("host"):
        raise PassingImageError("timeout")
    with contextlib.ExitStack() as stack:
        assert held(places, stack, "host", 8) == 2


def test_a_missing_image_says_nothing_of_the_host() -> None:
    places = HostPlaces(8)
    with pytest.raises(PermanentImageError), places.take("host"):
        raise PermanentImageError("404")
    with contextlib.ExitStack() as stack:
        assert held(places, stack, "host", 8) == 7


def test_one_thread_has_a_place_for_everybody() -> None:
    places = HostPlaces(1)
    prove(places, "host")
    prove(places, "other")


def test_a_place_that_becomes_free_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_places, "PATIENCE", 60.0)
    places = HostPlaces(4)
    entered = threading.Event()

    def second() -> None:
        with places.take("host"):
            entered.set()

    with places.take("host"):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not entered.is_set()
    waiting.join(60)
    assert entered.is_set()

"""What a check and the events that have arrived say of Label Studio's reach; the clock is ours."""

import pytest

from services.connections.reach import (
    ARRIVAL_SECONDS,
    FIRST_RECHECK_SECONDS,
    LAST_RECHECK_SECONDS,
    NOT_ARRIVED,
    Connectivity,
    Heard,
    Mode,
    Reach,
    connectivity,
    recheck_is_due,
)

NOW = 1_000_000.0
PROBED = Reach(probe_at=NOW, probe_heard=4, checked_at=NOW)


@pytest.mark.parametrize(
    ("backend", "webhook", "mode", "polls"),
    [
        (None, None, Mode.INBOUND, False),
        ("refused", None, Mode.WEBHOOK, False),
        (None, "refused", Mode.BACKEND, True),
        ("refused", "refused", Mode.OUTBOUND, True),
    ],
)
def test_modes(backend: str | None, webhook: str | None, mode: Mode, polls: bool) -> None:
    found = Connectivity(backend, webhook)
    assert (found.mode, found.mode.polls) == (mode, polls)
    assert "\n" not in found.sentence
    assert all(reason in found.sentence for reason in {backend, webhook} - {None})


def test_a_webhook_counts_once_the_event_that_we_caused_has_arrived() -> None:
    before = connectivity(PROBED, Heard(4, NOW - 100), NOW + 1)
    assert (before.webhook, before.is_proven) == (None, False)
    after = connectivity(PROBED, Heard(5, NOW + 1), NOW + 100)
    assert (after.webhook, after.is_proven) == (None, True)


def test_a_test_event_that_does_not_arrive_changes_the_mode_until_one_does() -> None:
    late = NOW + ARRIVAL_SECONDS
    lost = connectivity(PROBED, Heard(4, NOW - 100), late)
    assert lost == Connectivity(None, NOT_ARRIVED)
    assert connectivity(PROBED, None, late) == lost
    assert recheck_is_due(PROBED, lost, late)
    assert connectivity(PROBED, Heard(5, late), late).mode is Mode.INBOUND


def test_a_reason_is_checked_again_after_waits_that_grow() -> None:
    def due_after(rechecks: int) -> float:
        reach = Reach(backend="refused", checked_at=NOW, rechecks=rechecks)
        found = connectivity(reach, None, NOW)
        return next(s for s in range(0, 10_000, 5) if recheck_is_due(reach, found, NOW + s))

    waits = [due_after(rechecks) for rechecks in range(9)]
    assert waits[0] == FIRST_RECHECK_SECONDS
    assert waits == sorted(waits)
    assert waits[-1] == LAST_RECHECK_SECONDS


def test_what_works_is_not_checked_again() -> None:
    found = connectivity(PROBED, Heard(5, NOW), NOW)
    assert not recheck_is_due(PROBED, found, NOW + 1e9)

"""How often a server is asked, by a clock of the test's own."""

import itertools

import pytest

from services.sync.poll_pace import ACTIVE_SECONDS, IDLE_SHARE, LAST_BACKOFF_SECONDS, TURN, PollPace

COST = 0.01  # seconds


def asked(pace: PollPace, seconds: float, *, start: float = 0.0, cost: float = COST) -> list[float]:
    """Ask whenever it is due, without a change; the times."""
    now, times = max(start, pace.next_at), []
    while now < start + seconds:
        times.append(now)
        pace.answered(now, cost, changed=False)
        now = pace.next_at
    return times


def test_while_someone_labels_it_asks_every_second() -> None:
    pace = PollPace()
    pace.answered(0.0, COST, changed=True)
    times = asked(pace, ACTIVE_SECONDS - 1)
    assert all(1.0 <= later - time <= 2.0 for time, later in itertools.pairwise(times))


def test_when_nobody_labels_asking_takes_less_than_half_a_percent_and_changes_are_seen_soon() -> (
    None
):
    pace = PollPace()
    times = asked(pace, 3_600.0)
    assert len(times) * COST / 3_600 <= 0.0045
    assert max(later - time for time, later in itertools.pairwise(times)) <= 5.0


def test_after_the_last_change_it_slows_down_step_by_step() -> None:
    pace = PollPace()
    pace.answered(0.0, COST, changed=True)
    times = asked(pace, 600.0)
    gaps = [later - time for time, later in itertools.pairwise(times)]
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(gaps))
    assert (gaps[0], gaps[-1]) == (1.0, pytest.approx(COST / IDLE_SHARE))


@pytest.mark.parametrize("cost", [0.2, 5.0])
def test_a_slow_server_is_asked_less_but_at_least_every_half_minute(cost: float) -> None:
    pace = PollPace()
    asked(pace, 100.0, cost=cost)
    assert pace.interval(200.0) == 30.0
    pace.answered(200.0, cost, changed=True)
    assert pace.interval(200.0) == min(cost / 0.04, 30.0)


def test_a_single_slow_answer_changes_nothing() -> None:
    pace = PollPace()
    asked(pace, 100.0)
    before = pace.interval(100.0)
    pace.answered(100.0, 10.0, changed=False)
    assert pace.interval(100.0) == before


def test_failures_are_waited_out_longer_and_longer_with_jitter() -> None:
    for drawn in (0.0, 1.0):
        pace, waits = PollPace(jitter=lambda drawn=drawn: drawn), []
        for _ in range(10):
            pace.failed(0.0)
            waits.append(pace.next_at)
        assert waits == sorted(waits)
        assert waits[-1] == LAST_BACKOFF_SECONDS * (0.5 + 0.5 * drawn)
    pace.answered(1.0, COST, changed=False)
    assert (pace.failures, pace.next_at) == (0, 1.0 + pace.interval(1.0))


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    pace = PollPace()
    pace.failed(5.0, retry_after=100.0)
    assert pace.next_at == 105.0


def test_close_looks_take_little_of_an_idle_server_and_are_frequent_while_someone_labels() -> None:
    def close_looks(pace: PollPace, seconds: float, start: float) -> list[float]:
        now, times = max(start, pace.next_at), []
        while now < start + seconds:
            closely = pace.looks_closely(now)
            times += [now] * closely
            pace.answered(now, 5 * COST if closely else COST, changed=False, closely=closely)
            now = pace.next_at
        return times

    pace = PollPace()
    idle = close_looks(pace, 3_600.0, 0.0)
    assert len(idle) * 5 * COST / 3_600 <= 0.001
    assert max(later - time for time, later in itertools.pairwise(idle)) <= 120.0
    pace.answered(3_600.0, COST, changed=True)
    active = close_looks(pace, ACTIVE_SECONDS - 1, 3_600.0)
    assert active[0] <= 3_600.0 + TURN, "the wait of idle times is over"
    assert all(later - time <= TURN + 1 for time, later in itertools.pairwise(active))

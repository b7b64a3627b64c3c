"""Who schedules, among several web processes on one PostgreSQL."""

from collections.abc import Iterator

import pytest

from store.database.engine import Database
from store.work import scheduler_lease
from store.work.scheduler_lease import LEASE_SECONDS, RENEW_SECONDS, SchedulerLease


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1e9 + self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(scheduler_lease, "time", clock)
    return clock


@pytest.fixture
def databases(postgres: str) -> Iterator[list[Database]]:
    opened = [Database(postgres) for _ in range(3)]
    yield opened
    for database in opened:
        database.close()


def test_one_leads_until_it_renews_no_longer(databases: list[Database], clock: Clock) -> None:
    first, second, third = map(SchedulerLease, databases)
    assert [lease.hold() for lease in (first, second, third)] == [True, False, False]
    for _ in range(20):
        clock.now += RENEW_SECONDS
        assert [lease.hold() for lease in (first, second, third)] == [True, False, False]
    clock.now += LEASE_SECONDS - 0.1
    assert not second.hold()
    clock.now += 0.2
    assert [lease.hold() for lease in (second, third)] == [True, False]
    assert not first.hold(), "it was away for too long"


def test_a_lease_is_given_up_at_the_end(databases: list[Database], clock: Clock) -> None:
    first, second, _ = map(SchedulerLease, databases)
    assert first.hold()
    second.release()
    assert not second.hold(), "nobody gives up what another holds"
    first.release()
    assert second.hold()


def test_of_two_that_take_it_at_the_same_moment_one_gets_it(
    databases: list[Database], clock: Clock
) -> None:
    leases = [SchedulerLease(database) for database in databases]
    assert leases[0].hold()
    assert not leases[1].hold()
    assert not leases[2].hold()
    clock.now += LEASE_SECONDS + 1
    write = databases[1].write

    def take_between(change):  # after the second has read, before it writes
        databases[1].write = write
        assert leases[2].hold()
        return write(change)

    databases[1].write = take_between
    assert not leases[1].hold()

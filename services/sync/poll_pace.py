"""How often a Label Studio server is asked for changes: by what asking costs, and by activity.

Mostly it is asked for counts, and now and then for a close look, which costs several times as much.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

ACTIVE_SHARE = 0.04  # of Label Studio's time that asking may take while someone labels
IDLE_SHARE = 0.004  # while nobody does
IDLE_CLOSE_SHARE = 0.0005  # of it, for close looks while nobody labels
TURN = 4  # of so many times while someone labels, one is a close look; fewer while nobody does
LONGEST_CLOSE_SECONDS = 120.0  # between two close looks, however much one costs
ACTIVE_SECONDS = 60.0  # that somebody counts as labelling after the last change
DOUBLING_SECONDS = 20.0  # in which the interval doubles after that
FIRST_BACKOFF_SECONDS = 2.0
LAST_BACKOFF_SECONDS = 60.0
COSTS = 12  # the newest ones
LOW, MIDDLE = 0.25, 0.5  # shares of them that cost less than what counts


@dataclass
class PollPace:
    """The times at which a server is asked. Times are seconds of any one clock.

    Attributes:
        fastest: least seconds between two times.
        slowest: most seconds between two times, however much asking costs.
        jitter: draws a number from 0 to 1.
    """

    fastest: float = 1.0
    slowest: float = 30.0
    jitter: Callable[[], float] = field(default=random.random)
    next_at: float = 0.0
    close_at: float = 0.0  # when the next close look is due
    costs: deque[float] = field(default_factory=lambda: deque(maxlen=COSTS))  # seconds
    close_costs: deque[float] = field(default_factory=lambda: deque(maxlen=COSTS))  # seconds
    changed_at: float | None = None
    failures: int = 0  # in a row

    def answered(self, now: float, cost: float, *, changed: bool, closely: bool = False) -> None:
        """Note an answer that took `cost` seconds.

        Args:
            changed: whether it told of a change.
            closely: whether it was a close look.
        """
        self.failures = 0
        (self.close_costs if closely else self.costs).append(cost)
        if changed:
            self.changed_at = now
        interval = self.interval(now)
        self.next_at = now + interval
        if closely:
            self.close_at = now + self._close_interval(now)
        elif changed:  # somebody begins to label: the wait of idle times is over
            self.close_at = min(self.close_at, now + self._close_interval(now))

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """Note that no answer came, or that the server asked for a wait of `retry_after` s."""
        self.failures += 1
        most = min(FIRST_BACKOFF_SECONDS * 2.0 ** (self.failures - 1), LAST_BACKOFF_SECONDS)
        wait = max(most * (0.5 + 0.5 * self.jitter()), retry_after or 0.0)
        self.next_at = now + wait

    def looks_closely(self, now: float) -> bool:
        """Whether the next time is to be a close look."""
        return now >= self.close_at

    def interval(self, now: float) -> float:
        """Seconds from one time to the next."""
        # While someone labels, little above the least cost counts: others make answers slow, too.
        counts, close = self._cost(LOW), _quantile(self.close_costs, LOW)
        usual = ((TURN - 1) * counts + (close or counts)) / TURN
        active = _between(self.fastest, usual / ACTIVE_SHARE, self.slowest)
        idle = _between(active, self._cost(MIDDLE) / IDLE_SHARE, self.slowest)
        if self.changed_at is None:
            return idle
        since = now - self.changed_at - ACTIVE_SECONDS
        return active if since <= 0 else min(active * 2.0 ** (since / DOUBLING_SECONDS), idle)

    def _cost(self, share: float) -> float:
        """Seconds that asking for counts takes; where a server tells none, a close look."""
        return _quantile(self.costs or self.close_costs, share)

    def _close_interval(self, now: float) -> float:
        """Seconds from one close look to the next; a little less than so many intervals."""
        soonest = (TURN - 0.5) * self.interval(now)
        if self.is_active(now):
            return soonest
        rare = _quantile(self.close_costs, MIDDLE) / IDLE_CLOSE_SHARE
        return max(soonest, min(rare, LONGEST_CLOSE_SECONDS))

    def is_active(self, now: float) -> bool:
        """Whether somebody labels."""
        return self.changed_at is not None and now - self.changed_at <= ACTIVE_SECONDS


def _between(least: float, value: float, most: float) -> float:
    return min(max(value, least), most)


def _quantile(costs: deque[float], share: float) -> float:
    return sorted(costs)[int(len(costs) * share)] if costs else 0.0

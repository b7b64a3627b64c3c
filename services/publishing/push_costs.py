"""How predictions are pushed for the least of Label Studio's time, by what pushes took lately.

One prediction takes it 20 ms. A bulk import recounts tasks of the project: it takes as long for
four predictions as for a hundred, 60 ms in a project of 400 tasks and seconds in large ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from store.predictions.publications import CHUNK_ITEMS
from store.projects.key_values import dataclass_key

MOST_SINGLE = 10  # predictions that are pushed one by one, however long an import takes
NEWEST_WEIGHT = 0.5  # of the newest push in the average


@dataclass(frozen=True)
class PushCosts:
    """Seconds that pushes to a project take."""

    single: float = 0.02  # of one prediction
    bulk: float = 0.2  # of an import of at most CHUNK_ITEMS

    def are_single(self, count: int) -> bool:
        """Whether so many predictions are pushed one by one."""
        return count <= MOST_SINGLE and count * self.single <= self.bulk

    def first_push(self, urgent: int) -> int:
        """The number of a version's predictions that are pushed before it is shown.

        Args:
            urgent: those that annotators see next.

        Returns:
            `urgent`, or all that one import takes, where that is little slower: it saves the
            import of the others later on.
        """
        alone = urgent * self.single if self.are_single(urgent) else self.bulk
        return CHUNK_ITEMS if self.bulk <= 2.0 * alone else urgent

    def after(self, *, singles: Sequence[float] = (), bulk: float | None = None) -> "PushCosts":
        """The costs after pushes that took so many seconds each."""
        costs = self
        if singles:
            mean = sum(singles) / len(singles)
            costs = replace(costs, single=_average(costs.single, mean))
        if bulk is not None:
            costs = replace(costs, bulk=_average(costs.bulk, bulk))
        return costs


PUSH_COSTS = dataclass_key("push_costs", PushCosts)


def _average(before: float, newest: float) -> float:
    return (1.0 - NEWEST_WEIGHT) * before + NEWEST_WEIGHT * newest

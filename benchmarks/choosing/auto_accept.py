"""Measures how often auto-accept misses its target error, checked after every label.

    python -m benchmarks.choosing.auto_accept [--projects 200] [--seed 1] [--target 0.05]

Simulated projects (`world.py`) of 3,000 images, up to 800 labels, 40% of the picks drawn (with 10%
the same rule stands four times later), some so hard that errors beyond the target are common. After
every label the rule is decided anew; while it stands, what it takes of the open images is accepted
but for a tenth, which stays in the queue to be audited. What was accepted stays so here, even when
the rule falls: withdrawing it makes things better. A project is bad when more than the target of
all that it accepted is wrong: in the end, or at any time with 50 accepted or more.

Then, without models, the worst case for the rule: answers wrong as often however sure, the share of
errors the target itself and a fifth more, looked at after each of 1,000 audited picks.
"""

import argparse
import platform
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.choosing.simulated_projects import Simulated
from model.active_learning.auto_accept import ON, Audited, decide

BAR = 8.0  # % of the projects
LABELS = 800
RESERVED = 0.1
PICKS = 1_000  # of the worst case


@dataclass
class Outcome:
    """What became of a project."""

    accepted: int = 0
    wrong: int = 0
    ever_bad: bool = False
    first: int = 0  # labels when the rule first stood
    images: int = 0
    unsure: float = 0.0  # errors of the last version on all that was open at the end


def names_of(said: NDArray[np.integer]) -> NDArray[np.str_]:
    """Classes as the rule knows them."""
    return np.array([f"c{index:02}" for index in range(20)])[said]


def audited(project: Simulated) -> Audited:
    """The random picks, by heads that had not seen them."""
    said, sure = project.honest()
    place = {image: index for index, image in enumerate(project.labelled)}
    rows = np.array([place[image] for image in project.drawn], np.intp)
    truth = project.y[np.array(project.drawn, np.intp)]
    return Audited(sure[rows], said[rows] != truth, names_of(said[rows]))


def one(seed: int, target: float) -> Outcome:
    rng = np.random.default_rng(seed)
    project = Simulated(
        seed,
        images=3_000,
        classes=int(rng.integers(3, 7)),
        spread=float(rng.uniform(0.7, 1.4)),
        noise=float(rng.choice([0.0, 0.03, 0.05, 0.08])),
        relearn=20,
        audit=0.4,
    )
    found = Outcome(images=project.images)
    reserved = rng.random(project.images) < RESERVED
    seen = (0, 0)
    for labels in project.run(LABELS):
        known = (len(project.drawn), project.learned_from)
        if not project.drawn or known == seen:
            continue  # the label tells the rule nothing: it stays as it is
        seen = known
        rule = decide(audited(project), target)
        if rule.state != ON:
            continue
        found.first = found.first or labels
        free = project.open
        free = free[~reserved[free]]
        said, sure = project.answers(free)
        taken = rule.takes(sure, names_of(said))
        project.closed.update(int(image) for image in free[taken])
        found.accepted += int(taken.sum())
        found.wrong += int((said[taken] != project.y[free[taken]]).sum())
        if found.accepted >= 50 and found.wrong > target * found.accepted:
            found.ever_bad = True
    rest = project.open
    if len(rest):
        found.unsure = float(np.mean(project.answers(rest)[0] != project.y[rest]))
    return found


def worst_case(target: float, error: float, cases: int, seed: int) -> float:
    """% of cases in which the rule ever stood though it should never."""
    rng = np.random.default_rng(seed)
    stood = 0
    for _ in range(cases):
        confidence, wrong = rng.beta(4, 1, PICKS), rng.random(PICKS) < error
        group = np.array(["a", "b", "c"])[rng.integers(0, 3, PICKS)]
        whole = Audited(confidence, wrong, group)
        for n in range(60, PICKS + 1):
            if decide(whole.part(np.arange(PICKS) < n), target).state == ON:
                stood += 1
                break
    return 100 * stood / cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--projects", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", type=float, default=0.05)
    asked = parser.parse_args()
    target = asked.target
    print(
        f"{platform.platform()}; numpy {np.__version__}; {asked.projects} projects; "
        f"seed {asked.seed}; target {target:.0%}"
    )
    found = []
    for run in range(asked.projects):
        found.append(one(asked.seed * 1_000_000 + run, target))
        if (run + 1) % 20 == 0:
            report(found, target)
    for error in (target, 1.2 * target):
        stood = worst_case(target, error, asked.projects, asked.seed)
        print(f"worst case, {error:.1%} wrong everywhere: stood in {stood:.1f}%", flush=True)


def report(found: list[Outcome], target: float) -> None:
    """What became of the projects so far."""
    some = [o for o in found if o.accepted]
    bad = sum(o.wrong > target * o.accepted for o in some)
    ever = sum(o.ever_bad for o in some)
    print(f"accepted anything: {len(some)} of {len(found)} projects")
    if some:
        rates = [o.wrong / o.accepted for o in some]
        shares = [o.accepted / o.images for o in some]
        print(
            f"of these: median {np.median(shares):.0%} of all images, first at "
            f"{np.median([o.first for o in some]):.0f} labels; {np.median(rates):.2%} of it wrong "
            f"(worst {max(rates):.2%})"
        )
    print(
        f"above the target in the end: {100 * bad / len(found):.1f}% of the projects; at any time: "
        f"{100 * ever / len(found):.1f}% (bar {BAR})",
        flush=True,
    )


if __name__ == "__main__":
    main()

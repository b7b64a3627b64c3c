"""Advice on selection and on when to stop, as records and as sentences."""

from dataclasses import dataclass

from sqlalchemy import Connection

from model.active_learning.advice import Advice, Agreement, Choosing, Outlook
from model.active_learning.auto_accept import FAILED, FEW, ON
from model.active_learning.learning_curve import labels_for
from model.statistics.intervals import Estimate
from services.advice import advice_of_version, advice_on_served
from services.suggestions.auto_accept import RuleStatus, accepting_version, rule_status
from store.predictions.auto_accepts import WITHDRAWN, count_acceptances
from store.projects.goals import Goal, get_goal
from store.projects.projects import Project
from studio.config import parse_label_config

LITTLE = 0.005  # of accuracy: a gain that is not worth 100 labels, where versions agree as well


@dataclass(frozen=True)
class AutoAcceptStatus:
    """The state of automatic acceptance; `bound` is an upper bound on the share of wrong ones."""

    state: str  # off, too few, failed, on
    reason: str | None
    threshold: float | None  # confidence
    bound: float | None
    audited: int  # random picks that say so
    wrong: int  # of them
    needed: int  # picks without an error that the target takes
    excluded: tuple[str, ...]  # classes that don't keep the target by themselves
    tasks: dict[str, int]  # {state: how many}


@dataclass(frozen=True)
class AdviceStatus:
    """What the last learning found out; accuracy is the served version's."""

    at: float | None
    labels: int
    accuracy: Estimate | None
    open_accuracy: Estimate | None
    seconds_per_label: float | None
    outlook: Outlook | None
    labels_to_goal: int | None  # in all; None when there is no goal, or no number leads there
    choosing: Choosing | None
    agreement: tuple[Agreement, ...]
    stable: bool
    goal: Goal
    accepting: AutoAcceptStatus
    stop: bool  # whether labelling more seems not to be worth it: nothing stops by itself
    sentences: tuple[str, ...]


def advice_status(db: Connection, project: Project) -> AdviceStatus:
    """Read the last learning's findings, and derive the advice."""
    goal = get_goal(db, project.id)
    found = advice_on_served(db, project.id, project.served_version_id)
    status = _rule_status(db, project, goal)
    counts = count_acceptances(db, project.id)
    accepting = AutoAcceptStatus(
        state=status.rule.state,
        reason=status.reason,
        threshold=status.rule.threshold,
        bound=status.rule.bound,
        audited=status.rule.audited,
        wrong=status.rule.wrong,
        needed=status.rule.needed,
        excluded=status.rule.excluded,
        tasks=counts,
    )
    known = found or Advice(0.0, 0, None, None, None)
    stop = _stop(known, goal)
    return AdviceStatus(
        at=found.at if found else None,
        labels=known.labels,
        accuracy=known.accuracy,
        open_accuracy=known.open_accuracy,
        seconds_per_label=known.seconds_per_label,
        outlook=known.outlook,
        labels_to_goal=_labels_to_goal(known, goal),
        choosing=known.choosing,
        agreement=tuple(known.agreement),
        stable=known.stable,
        goal=goal,
        accepting=accepting,
        stop=stop,
        sentences=tuple(_sentences(known, goal, status, counts, stop)) if found else (),
    )


def _rule_status(db: Connection, project: Project, goal: Goal) -> RuleStatus:
    version = accepting_version(db, project)
    advice = advice_of_version(db, version.id) if version is not None else None
    config, pinned = parse_label_config(project.label_config), project.held_at is not None
    return rule_status(goal, advice.picks if advice else (), config, pinned=pinned)


def _stop(found: Advice, goal: Goal) -> bool:
    if goal.accuracy is not None:
        return found.accuracy is not None and found.accuracy.low >= goal.accuracy
    outlook = found.outlook
    return found.stable and outlook is not None and outlook.gain.high < LITTLE


def _sentences(
    found: Advice, goal: Goal, status: RuleStatus, counts: dict[str, int], stop: bool
) -> list[str]:
    said = [_accuracy(found)]
    if found.outlook is not None:
        said.append(_outlook(found.outlook, found.seconds_per_label))
    if goal.accuracy is not None:
        said.append(_goal(goal.accuracy, found))
    if found.agreement:
        newest = found.agreement[-1]
        last = "; the last three hardly differ" if found.stable else ""
        said.append(f"The newest version agrees with the one before: κ {newest.kappa:.3f}{last}.")
    if found.choosing is not None:
        said.append(_choosing(found.choosing))
    if goal.accept_error is not None:
        said.append(_accepting(goal, status, counts))
    if stop:
        said.append("Labelling more seems not to be worth it: consider to stop.")
    return said


def _accuracy(found: Advice) -> str:
    if found.accuracy is None:
        return "How good suggestions are on all images is not known: no random pick has a label."
    said = f"By {found.accuracy.n} random picks, suggestions are right on {_share(found.accuracy)}"
    if found.open_accuracy is None:
        return f"{said} of all images."
    return f"{said} of all images, on {_share(found.open_accuracy)} of those not labelled yet."


def _share(found: Estimate) -> str:
    return f"{found.value:.1%} (95% interval {found.low:.1%} to {found.high:.1%})"


def _outlook(outlook: Outlook, seconds: float | None) -> str:
    gain = outlook.gain
    reach = 100 * max(gain.high - gain.value, gain.value - gain.low)
    said = f"The next {outlook.more} labels: {100 * gain.value:+.1f} ± {reach:.1f} points"
    if seconds is not None:
        said += f", about {_duration(seconds * outlook.more)} at this team's speed"
    where = "" if outlook.at_random else ", measured on labels that were chosen"
    return f"{said} (as of {outlook.labels} labels{where})."


def _duration(seconds: float) -> str:
    minutes = max(round(seconds / 60), 1)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02} min" if hours else f"{minutes} min"


def _goal(goal: float, found: Advice) -> str:
    if found.accuracy is None:
        return f"Whether the goal of {goal:.1%} is reached is not known yet."
    if found.accuracy.low >= goal:
        return f"The goal of {goal:.1%} is reached, with 97.5% confidence."
    if found.accuracy.value >= goal:
        return f"The goal of {goal:.1%} seems to be reached; more random picks will make it sure."
    if found.outlook is None:
        return f"The goal of {goal:.1%} is not reached."
    needed = _labels_to_goal(found, Goal(goal))
    if needed is None:
        return (
            f"The goal of {goal:.1%} is not reached, and more labels of this kind don't lead "
            "there: fine-tuning or another backbone may."
        )
    more = max(needed - found.labels, 0)
    return f"The goal of {goal:.1%} is not reached; it takes about {more} labels more."


def _labels_to_goal(found: Advice, goal: Goal) -> int | None:
    if goal.accuracy is None or found.accuracy is None or found.outlook is None:
        return None
    missing = goal.accuracy - found.accuracy.value
    return labels_for(found.outlook.rise, max(found.labels, 1), missing)


def _choosing(choosing: Choosing) -> str:
    gain = choosing.gain
    numbers = f"loss saved {gain.value:+.3f}, {gain.low:+.3f} to {gain.high:+.3f}"
    compared = f"by {choosing.labels} labels of each ({numbers})"
    if choosing.at_random:
        return f"Choosing does not pay here {compared}: tasks are drawn at random."
    if choosing.pays:
        return f"Choosing pays {compared}."
    return f"Whether choosing pays can't be told yet {compared}."


def _accepting(goal: Goal, status: RuleStatus, counts: dict[str, int]) -> str:
    rule, target = status.rule, f"{goal.accept_error or 0:.1%}"
    if status.reason is not None:
        return f"Nothing is accepted unseen: {status.reason}."
    if rule.state == FEW:
        return (
            f"Nothing is accepted unseen: {rule.audited} random picks are labelled, and at most "
            f"{target} of wrong ones takes {rule.needed} without any error."
        )
    if rule.state == FAILED:
        back = f"; {counts[WITHDRAWN]} are being taken back" if counts.get(WITHDRAWN) else ""
        return (
            f"Nothing is accepted unseen: {rule.wrong} of {rule.audited} random picks as sure as "
            f"{rule.threshold:g} are wrong, so that up to {rule.bound:.1%} may be{back}."
        )
    assert rule.state == ON
    taken = sum(count for state, count in counts.items() if state != WITHDRAWN)
    how = "written to Label Studio" if goal.accept_writes else "only marked"
    but = f", but not {', '.join(rule.excluded)}" if rule.excluded else ""
    return (
        f"Accepted unseen: {taken} tasks ({how}), from a confidence of {rule.threshold:g} on{but}; "
        f"at most {rule.bound:.1%} of them are wrong ({rule.wrong} of {rule.audited} random picks)."
    )

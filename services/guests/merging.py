"""Merges the suggestions of guests with ours, control by control."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.guests.specification import GuestSpec

Regions = Sequence[dict[str, Any]]


def merge(
    ours: Regions, answers: Mapping[str, Regions], guests: Sequence[GuestSpec]
) -> list[dict[str, Any]]:
    """The regions of a task: each control is answered by one model alone.

    A control that a guest was given is the guest's, also while it has no answer. Any other is the
    first guest's that answers it for this task, and else ours.

    Args:
        ours: our own regions.
        answers: {guest: its regions}, of the guests that have answered.
        guests: all guests, in order.
    """
    owners = {control: guest.name for guest in guests for control in guest.controls}
    for guest in guests:
        if not guest.controls:
            for region in answers.get(guest.name, ()):
                owners.setdefault(region["from_name"], guest.name)
    merged = [region for region in ours if region["from_name"] not in owners]
    for guest in guests:
        merged += [
            region
            for region in answers.get(guest.name, ())
            if owners.get(region["from_name"]) == guest.name
        ]
    return merged

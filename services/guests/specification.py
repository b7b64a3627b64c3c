"""Reads which guest models the settings name."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from store.settings import Settings

FORM = "path/to/model.py:ClassName, or path/to/model.py:ClassName@control,control"
_GUEST = re.compile(r"(?P<file>.+):(?P<name>[A-Za-z_]\w*)(@(?P<controls>[^@]+))?")


class GuestSettingError(ValueError):
    """The settings name a guest that can't be; the message says what to do."""


@dataclass(frozen=True)
class GuestSpec:
    """A guest model.

    Attributes:
        name: unique; its class's name, with a number where several have the same.
        file: the Python file with the class.
        class_name: of the class in it.
        controls: the controls that are its own; none: it has those that it answers.
        python: the interpreter that runs it.
    """

    name: str
    file: Path
    class_name: str
    controls: tuple[str, ...]
    python: str

    def serves(self, controls: set[str]) -> bool:
        """Whether it has to do with a project that has these controls."""
        return bool(controls) and (not self.controls or not controls.isdisjoint(self.controls))


def guest_specs(settings: Settings) -> tuple[GuestSpec, ...]:
    """The guests, in order: where two answer one control, the first one's answer counts.

    Raises:
        GuestSettingError: a guest or an interpreter isn't there, or the setting is malformed.
    """
    entries = _entries(settings.guests)
    pythons = _pythons(_entries(settings.guest_python), len(entries))
    specs: list[GuestSpec] = []
    for entry, python in zip(entries, pythons, strict=True):
        found = _GUEST.fullmatch(entry)
        if found is None:
            raise GuestSettingError(f"a guest is named as {FORM}, not {entry!r}")
        file = Path(found["file"]).expanduser().absolute()
        if not file.is_file():
            raise GuestSettingError(f"there is no file {file}, which the guest {entry!r} names")
        controls = tuple(filter(None, map(str.strip, (found["controls"] or "").split(","))))
        taken = {control for spec in specs for control in spec.controls}
        if twice := taken.intersection(controls):
            raise GuestSettingError(f"two guests are given the control {min(twice)!r}")
        same = sum(spec.class_name == found["name"] for spec in specs)
        name = found["name"] + (f"-{same + 1}" if same else "")
        specs.append(GuestSpec(name, file, found["name"], controls, python or sys.executable))
    return tuple(specs)


def _entries(setting: str | None) -> list[str]:
    return [entry.strip() for entry in re.split(r"[;\n]", setting or "") if entry.strip()]


def _pythons(named: list[str], guests: int) -> list[str | None]:
    """An interpreter for each guest: one for all, or one for each; None for our own."""
    if not named:
        return [None] * guests
    if len(named) not in {1, guests}:
        raise GuestSettingError(
            f"{len(named)} interpreters are named for {guests} guests: name one for all, or as "
            "many as guests, in their order"
        )
    for python in named:
        if not Path(python).expanduser().is_file():
            raise GuestSettingError(f"there is no Python interpreter {python}")
    paths = [str(Path(python).expanduser().absolute()) for python in named]
    return [*paths] * guests if len(paths) == 1 else [*paths]

"""A row of the printed table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, in `unit`."""

    name: str
    value: float
    unit: str

    def line(self) -> str:
        """The row as it is printed."""
        return f"  {self.name:62} {self.value:10.5g} {self.unit}".rstrip()

"""The settings of guest models."""

from pydantic import Field
from pydantic_settings import BaseSettings


class GuestSettings(BaseSettings):
    """Which guest models there are, and how long they may take."""

    guests: str | None = Field(
        default=None,
        description="Guest models, as `path/to/model.py:ClassName`, or with `@control,control` "
        "for those controls alone; several are separated by `;`.",
    )
    guest_python: str | None = Field(
        default=None,
        description="Python interpreter of the guests: one for all, or one for each, separated "
        "by `;`; by default Apprentice's own.",
    )
    guest_seconds: float = Field(
        default=30,
        gt=0,
        description="Seconds that a guest may take to predict a batch; then its process is killed.",
    )
    guest_fit_seconds: float = Field(
        default=86_400,
        gt=0,
        description="Seconds that training a guest may take; then it is stopped.",
    )

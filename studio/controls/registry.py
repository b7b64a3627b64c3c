"""The registry of control tags: the function for each tag's name."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable

from studio.controls.base import Control, ControlFactory, NotLearnedError, Tag

PACKAGE = "studio.controls"  # all of its modules are imported, to register their tags

_FACTORIES: dict[str, ControlFactory] = {}


def register(tag: str) -> Callable[[ControlFactory], ControlFactory]:
    """Decorate the function that makes a control from a tag of this name."""

    def add(factory: ControlFactory) -> ControlFactory:
        if tag in _FACTORIES:
            raise ValueError(f"two modules register the control tag {tag}")
        _FACTORIES[tag] = factory
        return factory

    return add


def known_tags() -> tuple[str, ...]:
    """The names of all control tags that are learned."""
    _load_all()
    return tuple(sorted(_FACTORIES))


def make(tag: Tag) -> Control:
    """The control for a tag. Raises NotLearnedError when it is not learned."""
    _load_all()
    factory = _FACTORIES.get(tag.tag)
    if factory is None:
        raise NotLearnedError(f"{tag.tag} is not learned; learned are: {', '.join(known_tags())}")
    return factory(tag)


@functools.cache
def _load_all() -> None:
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{PACKAGE}.{module.name}")

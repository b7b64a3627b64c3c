"""A registry of named entries, each registered by a module of a package."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(LookupError):
    """No entry has this name. The message lists similar names, or all."""


def unknown(noun: str, name: str, names: list[str]) -> str:
    """Return the error message for an unknown name, with similar names."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"there are: {', '.join(names) or 'none'}."
    )
    return f"No {noun} is called {name!r}: {hint}"


class Registry(Generic[T]):
    """Entries that the modules of `package` register; they are imported at the first look-up.

    A module of the package registers by the decorator and so must be cheap to import: torch,
    OpenVINO and scikit-learn belong inside its functions.
    """

    def __init__(self, noun: str, package: str) -> None:
        self._noun = noun
        self._package = package
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its object as `name`; ValueError for a second one."""

        def decorate(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"Two {self._noun} entries are called {name!r}.")
            self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """Return the entry of that name. Raises UnknownNameError."""
        self._discover()
        if name not in self._entries:
            raise UnknownNameError(unknown(self._noun, name, self.names()))
        return self._entries[name]

    def names(self) -> list[str]:
        """List all names, sorted."""
        self._discover()
        return sorted(self._entries)

    def _discover(self) -> None:
        if self._discovered:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._discovered = True

"""Named things found in the files of a package: one file adds one, and nothing else is touched."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(LookupError):
    """Nothing is registered under a name. The message names what comes near, or all there is."""


def unknown(noun: str, name: str, known: list[str]) -> str:
    """The sentence for people: what was asked for, and what they may have meant."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"there are: {', '.join(known) or 'none'}."
    )
    return f"No {noun} is called {name!r}: {hint}"


class Registry(Generic[T]):
    """What the modules of `package` registered; they are imported at the first look-up.

    A module of the package registers by the decorator and so must be cheap to import: torch,
    OpenVINO and scikit-learn belong inside its functions.
    """

    def __init__(self, noun: str, package: str) -> None:
        self._noun = noun
        self._package = package
        self._entries: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that files what it decorates under `name`. Two of one name: ValueError."""

        def decorate(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"Two {self._noun} entries are called {name!r}.")
            self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """The entry of that name, or UnknownNameError."""
        self._discover()
        if name not in self._entries:
            raise UnknownNameError(unknown(self._noun, name, self.names()))
        return self._entries[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._entries)

    def _discover(self) -> None:
        if self._discovered:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._discovered = True

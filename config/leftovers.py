"""Keeps the pid files of `home/run`, so that `paceline down` can stop what an earlier command left running.

A pid file holds a number and a newline. The number alone proves nothing, since the system gives it away again; before
anything is signalled, the process has to show that it is ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.processes import look_up
from paceline.durable import private_dir

TERM_SECONDS = 20.0
"""Between SIGTERM and SIGKILL; a worker uses it to note what it was doing."""

COMMAND = "run-"
"""How the name of a command in the foreground begins; its process id follows."""

_GIVE_UP_SECONDS = 10.0
"""After SIGKILL: a process that waits for a dead disk can't end."""

_CLOCK_SLACK_SECONDS = 2.0
"""Start times are told in whole seconds."""

_OURS = re.compile(r"paceline|celery|cli\.(?:main|supervisor)|worker\.app|(?:valkey|redis)-server")

_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that a pid file names: `name` is the file's, without `.pid`."""

    name: str
    pid: int


def write_pid(home: Path, name: str, pid: int | None = None) -> Path:
    """Note that this process (or `pid`) runs as `name` under `home`; returns the file. Replaces an earlier note."""
    path = home / "run" / f"{name}.pid"
    private_dir(path.parent)
    aside = path.with_name(f".{name}.{os.getpid()}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(f"{os.getpid() if pid is None else pid}\n")
    aside.replace(path)
    return path


def remove_pid(home: Path, name: str, pid: int | None = None) -> None:
    """Remove the note of this process (or `pid`). One that names another process by now stays."""
    path = home / "run" / f"{name}.pid"
    if _read_pid(path) == (os.getpid() if pid is None else pid):
        path.unlink(missing_ok=True)


def leftovers(home: Path) -> tuple[Leftover, ...]:
    """List the running processes that the pid files name and that are ours; supervisor first, the server last."""
    found = []
    for path in (home / "run").glob("*.pid"):
        pid = _read_pid(path)
        if pid is not None and pid != os.getpid() and _is_ours(pid, path, home.absolute()):
            found.append(Leftover(path.stem, pid))
    return tuple(sorted(found, key=lambda one: (_rank(one), one.name)))


def stop_leftovers(home: Path, term_seconds: float = TERM_SECONDS) -> tuple[Leftover, ...]:
    """Stop what is left running under `home` and return it; stale pid files are removed.

    Supervisor and commands go first, as they stop their own workers in order; the server last, as everybody needs it.
    Each rank gets SIGTERM, and SIGKILL after `term_seconds`. Blocks until all are gone. Doing it again stops nothing.
    """
    found = leftovers(home)
    for rank in range(3):
        _stop([one.pid for one in found if _rank(one) == rank], term_seconds)
    for path in (home / "run").glob("*.pid"):
        pid = _read_pid(path)
        if pid is None or not _is_ours(pid, path, home.absolute()):
            path.unlink(missing_ok=True)
    return tuple(one for one in found if look_up(one.pid) is None)


def _rank(one: Leftover) -> int:
    if one.name == "supervisor" or one.name.startswith(COMMAND):
        return 0
    return 2 if one.name == "redis" else 1


def _stop(pids: Sequence[int], term_seconds: float) -> None:
    started = time.monotonic()
    number = signal.SIGTERM
    for pid in pids:
        _signal(pid, number)
    while any(look_up(pid) for pid in pids):
        waited = time.monotonic() - started
        if waited > term_seconds + _GIVE_UP_SECONDS:
            return
        if waited > term_seconds and number is signal.SIGTERM:
            number = signal.SIGKILL
            for pid in pids:
                _signal(pid, number)
        time.sleep(_POLL_SECONDS)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _read_pid(path: Path) -> int | None:
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if re.fullmatch(r"[1-9]\d{0,9}", text) and text != "1" else None


def _is_ours(pid: int, path: Path, home: Path) -> bool:
    """Tell whether the process is the one the file was written for.

    It is if it belongs to this user and names this home in its command or environment; or if its command is one of
    ours and began before the file was written.
    """
    process = look_up(pid)
    if process is None or process.user != os.geteuid():
        return False
    if f"{home}/" in process.command or f"PACELINE_HOME={home}" in process.environment:
        return True
    try:
        written = path.stat().st_mtime
    except FileNotFoundError:
        return False
    return bool(_OURS.search(process.command)) and process.started <= written + _CLOCK_SLACK_SECONDS

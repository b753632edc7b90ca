"""Runs paceline in one of three modes, and again whenever it was killed or has stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.soak.checker import STOPPED, Ending
from tests.soak.plan import Mode
from tests.soak.processes import TcpRedis, named
from tests.support.command import Paceline

SETTINGS = {
    "workers": "2",
    "settle_seconds": "3",
    "upload_base_seconds": "4",
    "upload_bytes_per_second": "20000000",
    "lease_extra_seconds": "1",
}
"""Beside `tests.support.command.FAST`: a lease of 5 s, and a second upload worker that goes on when one is stopped."""

LONGEST_S = 300.0
"""For a batch to end once nothing is killed any more."""


class Commands:
    """The commands of one batch. `endings` are those that ended by themselves; what they said is in `said/`."""

    def __init__(self, folder: Path, mode: Mode, paceline: Paceline, arguments: tuple[str, ...]) -> None:
        self.mode = mode
        self.home = paceline.home
        self.endings: list[Ending] = []
        self.started = 0
        self._paceline = paceline
        self._folder = folder
        self._said = folder / "said"
        self._said.mkdir()
        self._arguments = arguments
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._submitted = False

    @property
    def complete(self) -> bool:
        """Tell whether the output says that the batch is complete."""
        return (self._folder / "out" / "_SUCCESS").exists()

    @property
    def pids(self) -> list[int]:
        """The commands that run in the foreground now."""
        return [process.pid for process in self._running.values() if process.poll() is None]

    def keep_going(self) -> None:
        """Start what doesn't run and should."""
        self._collect()
        if self.mode is Mode.RUN:
            self._start_unless_running("run")
            return
        if not self._submitted:
            self._start_unless_running("submit")
        elif "supervisor" not in named(self.home):
            self._start_unless_running("up")

    def finish(self) -> None:
        """Run until a command has nothing left to do, however often it asks for the same command again.

        Raises `AssertionError` if it takes too long.
        """
        deadline = time.monotonic() + LONGEST_S
        self._collect()
        before = len(self.endings)
        while not any(end.verb == "run" and end.code != STOPPED for end in self.endings[before:]):
            self._start_unless_running("run")
            self._collect()
            assert time.monotonic() < deadline, f"the batch isn't complete after {LONGEST_S:g} quiet seconds"
            time.sleep(0.1)
        for process in self._running.values():
            process.wait(LONGEST_S)
        self._collect()

    def once_more(self) -> None:
        """Run the same command again, on the complete batch."""
        self._start_unless_running("run")
        self._running["run"].wait(LONGEST_S)
        self._collect()

    def tracebacks(self) -> list[str]:
        """Name the commands that ended with a traceback of Python's."""
        return [path.name for path in sorted(self._said.iterdir()) if b"Traceback" in path.read_bytes()]

    def _start_unless_running(self, verb: str) -> None:
        if verb in self._running:
            return
        self.started += 1
        arguments = self._arguments if verb in ("run", "submit") else ()
        with (self._said / f"{self.started:03d}-{verb}").open("wb") as said:
            self._running[verb] = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.main", verb, *arguments],
                cwd=self._folder,
                env=self._paceline.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def _collect(self) -> None:
        for verb, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[verb]
            if code >= 0:  # else it was killed
                self.endings.append(Ending(verb, code, self.complete))
            if verb == "submit" and code == 0:
                self._submitted = True


def settings_of(redis: TcpRedis | None, limits: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a round, as `Paceline` takes them."""
    found = {**SETTINGS, **{f"accounts__kolena__limits__{name}": limit for name, limit in limits.items()}}
    return found if redis is None else {**found, "redis_url": redis.url}

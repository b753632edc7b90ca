"""Finds the processes of one round and signals them: children we started, and those that its home's pid files name."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import redis

from config.leftovers import leftovers
from config.processes import look_up
from config.server_binary import find_server
from tests.support.command import processes_of
from tests.support.server import free_port

START_S = 30.0

_OURS = re.compile(r"cli\.(main|supervisor)|config/watcher\.py|(valkey|redis)-server")
"""What may be killed for naming a round's home. A person's `tail -f` of its log may not."""


def named(home: Path) -> dict[str, int]:
    """Return the live processes that the pid files of a home name and that are its own, by name."""
    return {one.name: one.pid for one in leftovers(home)}


def all_of(home: Path) -> list[int]:
    """Return every live process of a home, those without a pid file too; whoever restarts others comes first."""
    found = named(home)
    first = [pid for name, pid in found.items() if not name.startswith(("worker-", "redis"))]
    rest = [*found.values(), *(int(text.partition(" ")[0]) for text in processes_of(home) if _OURS.search(text))]
    return [pid for pid in dict.fromkeys([*first, *rest]) if pid != os.getpid()]


def kill(pids: Iterable[int]) -> int:
    """Kill processes, the first ones first; return how many there were to kill."""
    killed = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


class Stops:
    """Processes that are stopped (SIGSTOP) and go on (SIGCONT) after a while."""

    def __init__(self) -> None:
        self._timers: list[threading.Timer] = []

    def stop(self, pid: int, seconds: float) -> bool:
        """Stop a process for so long; False if it isn't there."""
        process = look_up(pid)
        if process is None:
            return False

        def go_on() -> None:
            now = look_up(pid)
            if now is not None and now.started == process.started and now.command == process.command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

        timer = threading.Timer(seconds, go_on)
        timer.daemon = True
        os.kill(pid, signal.SIGSTOP)
        timer.start()
        self._timers.append(timer)
        return True

    def wait(self) -> None:
        """Return when all have gone on."""
        for timer in self._timers:
            timer.join()


class TcpRedis:
    """A Redis server on a TCP port that survives being killed: every write is synced before its answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> TcpRedis:
        self._folder.mkdir(parents=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, once it has ended; returns when it answers."""
        if self._process is not None:
            self._process.wait(START_S)
        binary, _ = find_server()
        command = [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        client = redis.Redis(port=self.port)
        deadline = time.monotonic() + START_S
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:  # BusyLoadingError is one, too
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.02)
        client.close()

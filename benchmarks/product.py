"""Runs the shipped command as a user would, with its real fleet, and keeps what there is to measure.

The embedded Redis is started here and shared with the command, so that it can be looked at after the command's end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from redis import Redis

from config.embedded import EmbeddedServer
from config.leftovers import COMMAND
from tests.support.sandbox import Sandbox

STOP_S = 40.0
"""For a command that was asked to stop: its workers have 30 s to finish their uploads."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProductFailed(Exception):
    """The command didn't end well; the text is the end of what it said."""


@dataclass(slots=True)
class Ran:
    """A finished `paceline run`: its summary, its output folder, its wall time.

    By process name: CPU seconds, and the most memory (RSS) that it had.
    """

    summary: dict[str, Any]
    out: Path
    seconds: float
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """What a process printed, its wall time and its CPU time."""

    said: str
    wall_s: float
    cpu_s: float


class Product:
    """One home folder with its embedded server: ``with Product(folder, sandbox, workers=2) as product``."""

    def __init__(self, folder: Path, sandbox: Sandbox, **settings: object) -> None:
        self._folder = folder
        self._home = folder / "home"
        self._server = EmbeddedServer(self._home)
        self.key = f"benchmark-{secrets.token_hex(16)}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PACELINE_", "KOLENA_"))}
        named = {f"PACELINE_{name.upper()}": str(value) for name, value in settings.items()}
        self.environment = {
            **clean,
            **named,
            "PACELINE_HOME": str(self._home),
            "KOLENA_API_URL": sandbox.url,
            "KOLENA_API_KEY": self.key,
        }

    @property
    def socket_path(self) -> Path:
        """Where the embedded Redis listens."""
        return self._server.socket_path

    def use_key(self, key: str) -> None:
        """Send this key; the sandbox counts by it."""
        self.key = self.environment["KOLENA_API_KEY"] = key

    def __enter__(self) -> Product:
        self._server.start()
        self.redis = Redis.from_url(f"unix://{self._server.socket_path}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.redis.close()
        self._server.stop()

    def export(self, batch: str, to: str, *, timeout_s: float) -> tuple[float, float]:
        """Export a batch's records again; return seconds and the command's peak memory in MB."""
        command = [sys.executable, "-m", "cli.main", "export", batch, "--to", to]
        begun = time.monotonic()
        with (self._folder / "said.txt").open("wb") as stderr, CpuWatch(self._folder / "nothing") as watch:
            process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=stderr)
            watch.add("command", process.pid)
            _finish(process, timeout_s)
        if process.returncode != 0:
            raise ProductFailed(f"exit code {process.returncode}: {(self._folder / 'said.txt').read_text()[-1500:]}")
        return time.monotonic() - begun, watch.peak_mb()["command"]

    def verb(self, module: str, *arguments: str) -> Said:
        """Run a module of ours in this home to its end, whatever its exit code; it may run beside `run`."""
        begun = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", module, *arguments], env=self.environment, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            said = process.stdout.read().decode()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        return Said(said, time.monotonic() - begun, used.ru_utime + used.ru_stime)

    def processes(self) -> list[tuple[str, int]]:
        """Name the processes that have pid files now: the fleet, and `command`, which runs the batch."""
        found = _with_pid_files(self._home / "run")
        return [("command" if name.startswith(COMMAND) else name, pid) for name, pid in found]

    def run(self, source: Path, *, files_per_run: int = 1, timeout_s: float) -> Ran:
        """Run a folder to its end. Raises `ProductFailed` unless everything in it succeeded."""
        out = self._folder / f"out-{source.name}"
        command = [sys.executable, "-m", "cli.main", "run", str(source), "--agent", "kolena:1", "--to", str(out)]
        command += ["--files-per-run", str(files_per_run), "--json"]
        said = self._folder / "said.txt"
        begun = time.monotonic()
        with said.open("wb") as stderr, CpuWatch(self._home / "run") as watch:
            process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=stderr)
            watch.add("command", process.pid)
            stdout = _finish(process, timeout_s)
        if process.returncode != 0:
            raise ProductFailed(f"exit code {process.returncode}: {said.read_text()[-1500:]}")
        return Ran(json.loads(stdout), out, time.monotonic() - begun, watch.used_s(), watch.peak_mb())


def _finish(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Return what the process prints; one that takes too long is asked to stop, then made to."""
    try:
        return process.communicate(timeout=timeout_s)[0]
    except BaseException:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


class CpuWatch(threading.Thread):
    """Notes, five times a second, the CPU time of the processes that have pid files in a folder.

    What a process uses after the last look is missed: under a fifth of a second.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__(name="cpu-watch", daemon=True)
        self._run_dir = run_dir
        self._over = threading.Event()
        self._others: dict[str, int] = {}
        self._first: dict[tuple[str, int], float] = {}
        self._last: dict[tuple[str, int], float] = {}
        self._peak_mb: dict[str, float] = {}

    def add(self, name: str, pid: int) -> None:
        """Watch one more process."""
        self._others[name] = pid

    def __enter__(self) -> CpuWatch:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(0.2):
            for name, pid in self._processes():
                used = cpu_s(pid)
                if used is not None:
                    self._first.setdefault((name, pid), used if name == "redis" else 0.0)
                    self._last[name, pid] = used
                    self._peak_mb[name] = max(self._peak_mb.get(name, 0.0), peak_mb(pid))

    def used_s(self) -> dict[str, float]:
        """Return the CPU seconds by process name, those of its restarts added up."""
        total: dict[str, float] = {}
        for (name, pid), used in self._last.items():
            total[name] = total.get(name, 0.0) + used - self._first[name, pid]
        return total

    def peak_mb(self) -> dict[str, float]:
        """Return the most memory that a process of each name had, by the kernel's own high-water mark."""
        return dict(self._peak_mb)

    def _processes(self) -> Iterator[tuple[str, int]]:
        yield from list(self._others.items())
        for name, pid in _with_pid_files(self._run_dir):
            if pid not in self._others.values():  # the command writes a pid file too
                yield name, pid


def _with_pid_files(run_dir: Path) -> Iterator[tuple[str, int]]:
    for path in run_dir.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError):
            yield path.stem, int(path.read_text())


def cpu_s(pid: int) -> float | None:
    """Return the CPU seconds of a process's threads, dead ones too; None if it isn't there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def peak_mb(pid: int) -> float:
    """Return the most resident memory that a process has had, 0 if it isn't there."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def make_files(folder: Path, count: int, *, size_bytes: int = 200) -> Path:
    """Fill a new folder with small text files, no two alike."""
    folder.mkdir(parents=True)
    for number in range(count):
        text = f"document {number}\n".ljust(size_bytes, "x")
        (folder / f"document-{number:06d}.txt").write_text(text)
    return folder


def limits(**by_class: str) -> Mapping[str, str]:
    """Name the settings of the account's limits, like ``add="20/4s"``."""
    return {f"accounts__kolena__limits__{name}": text for name, text in by_class.items()}

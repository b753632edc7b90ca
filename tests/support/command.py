"""The shipped command as a person runs it: a subprocess with its own home, ended whatever happens."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from unittest.mock import patch

from cli.main import main

FAST = {
    "PACELINE_SETTLE_SECONDS": "2",
    "PACELINE_RESCUE_SECONDS": "0.5",
    "PACELINE_RESCUE_GRACE_SECONDS": "1",
    "PACELINE_RELEASE_LEASE_SECONDS": "3",
    "PACELINE_LEASE_EXTRA_SECONDS": "2",
    "PACELINE_UPLOAD_BASE_SECONDS": "10",
    "PACELINE_POLL_FIRST_SECONDS": "0.5",
    "PACELINE_POLL_AGAIN_SECONDS": "1",
    "PACELINE_POLL_REFUSED_SECONDS": "2",
    "PACELINE_MESSAGE_WAIT_SECONDS": "0.2",
}
"""Waiting times for tests."""


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Parse stdout."""
        return json.loads(self.stdout)


class Paceline:
    """Runs `paceline` with one home and environment; `with` it, so that `down` is run at the end."""

    def __init__(self, folder: Path, *, url: str = "", key: str = "canary-key-5d1f0c", **settings: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PACELINE_", "KOLENA_", "KINDO_", "PYTHONDONTWRITEBYTECODE"))
        }
        self.environment: dict[str, str] = {**inherited, **FAST, "PACELINE_HOME": str(self.home)}
        if url:
            self.environment |= {"KOLENA_API_URL": url, "KOLENA_API_KEY": key}
        self.environment |= {f"PACELINE_{name.upper()}": value for name, value in settings.items()}
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Paceline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        # Most commands leave nothing running, and then there is nothing to stop.
        if not Path("/proc").exists() or processes_of(self.folder / self.environment["PACELINE_HOME"]):
            self("down")

    def __call__(self, *arguments: str, timeout_s: float = 120.0, extra: Mapping[str, str] | None = None) -> Result:
        """Run to the end."""
        process = self.start(*arguments, extra=extra)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(
                f"paceline {' '.join(arguments)} did not end in {timeout_s} s:\n{out}\n{err}"
            ) from None
        return Result(process.returncode, out, err)

    def here(self, *arguments: str, extra: Mapping[str, str] | None = None) -> Result:
        """Run to the end in this process, where it isn't the point that it is one: that costs half a second less."""
        out, err, umask = io.StringIO(), io.StringIO(), os.umask(0o077)
        try:
            with (
                chdir(self.folder),
                patch.dict(os.environ, {**self.environment, **(extra or {})}, clear=True),
                patch.multiple(sys, argv=["paceline", *arguments], stdin=io.StringIO()),
                redirect_stdout(out),
                redirect_stderr(err),
            ):
                main(arguments)
        except SystemExit as end:
            return Result(int(end.code or 0), out.getvalue(), err.getvalue())
        finally:
            os.umask(umask)
        raise AssertionError("main always exits")

    def start(
        self, *arguments: str, extra: Mapping[str, str] | None = None, stdin: IO[bytes] | int = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start in the background, in a process group of its own."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", *arguments],  # -P: as the installed script, not from the cwd
            cwd=self.folder,
            env={**self.environment, **(extra or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def interrupt(self, process: subprocess.Popen[str]) -> Result:
        """Press Ctrl-C and wait for the end."""
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return Result(process.returncode, out, err)

    def kill_everything(self, process: subprocess.Popen[str]) -> None:
        """End a command, its workers and its server at once, as a power cut would."""
        for pid in [process.pid, *self.pids("worker"), *self.pids("redis")]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()
        wait_for(lambda: not processes_of(self.home), "the end of every process")

    def pids(self, prefix: str) -> list[int]:
        """Return the process ids in this home's pid files whose name begins so."""
        found = []
        for path in sorted((self.home / "run").glob(f"{prefix}*.pid")):
            found += [int(path.read_text())] if path.exists() else []
        return found


def processes_of(home: Path) -> list[str]:
    """Describe every live process that names this home in its command or environment; Linux only, elsewhere empty."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
            command = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended, or is another user's
        ours = f"PACELINE_HOME={home}".encode() in environment or f"{home}/".encode() in command
        if ours and state not in (b"Z", b"X"):
            found.append(f"{folder.name} {command.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Wait until a condition holds; return its value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen in {timeout_s} s")
        time.sleep(0.05)


def make_files(folder: Path, number: int, *, size: int = 200) -> Path:
    """Make files with distinct contents, some in a subfolder."""
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    for n in range(number):
        place = folder / "sub" if n % 5 == 0 else folder
        (place / f"file-{n:04d}.txt").write_text(f"document {n}\n" + "word " * (size // 5))
    return folder


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

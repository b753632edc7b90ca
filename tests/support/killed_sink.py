"""Write a small batch to a sink in a process that is killed at one chosen step of a driver or the file system.

A step is the call of a function with one of the given qualified names, C or Python, found with `sys.setprofile`: so
`"fsync"`, `"Connection.commit"` and `"PutResult"` need nothing patched. The process is forked from one that has loaded
no driver, as many of them don't survive a fork.

Run as `python -m tests.support.killed_sink`, with a `Job` as JSON on stdin.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from paceline.sinks.registry import open_sink
from tests.support.sink_batch import BATCH, closing, parts, second_attempt

ROOT = Path(__file__).resolve().parents[2]

FILE_STEPS = ("open", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir", "chmod", "flock")
"""What changes anything in a file system, by the names that the functions of `os`, `io` and `fcntl` have."""


def work(place: str, folder: Path) -> None:
    """Write the batch and commit it; then a second attempt of one submission, and commit again."""
    sink = open_sink(place)
    sink.check(BATCH)
    for part in parts():
        sink.write(part)
    done = closing(folder)
    sink.take_manifest(BATCH, done.manifest)
    sink.commit(done)
    sink.write(second_attempt())
    sink.take_manifest(BATCH, done.manifest)
    sink.commit(done)


def count_steps(place: str, folder: Path, steps: Collection[str]) -> int:
    """Return how many steps `work` takes on a new destination; it is undisturbed."""
    return _run([(place, None)], folder, steps)[0]


def kill_at(places: Sequence[tuple[str, int]], folder: Path, steps: Collection[str]) -> None:
    """Do `work` on each destination in a process that is killed before its step of that number, from 0."""
    ended = _run(places, folder, steps)
    assert set(ended) <= {-signal.SIGKILL}, f"not all were killed: {ended}"


def _run(places: Sequence[tuple[str, int | None]], folder: Path, steps: Collection[str]) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_sink"],
        input=json.dumps({"places": places, "folder": str(folder), "steps": sorted(steps)}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found: list[int] = json.loads(done.stdout)
    return found


class _Counter:
    """Counts steps, and kills this process before the one numbered `last`."""

    def __init__(self, steps: Collection[str], last: int | None) -> None:
        self._steps = frozenset(steps)
        self._last = last
        self.count = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            name = getattr(argument, "__qualname__", "")
        elif event == "call":
            name = frame.f_code.co_qualname
        else:
            return
        if name in self._steps:
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1


def _child(place: str, last: int | None, folder: Path, steps: Collection[str], answer: int) -> None:
    counter = _Counter(steps, last)
    sys.setprofile(counter)
    try:
        work(place, folder)
    finally:
        sys.setprofile(None)
    os.write(answer, str(counter.count).encode())


def main() -> None:
    """Do a job: print, for each destination, minus the signal that ended its process, or the steps it took."""
    job = json.load(sys.stdin)
    found = []
    for place, last in job["places"]:
        theirs, ours = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                _child(place, last, Path(job["folder"]), job["steps"], ours)
                code = 0
            finally:
                sys.excepthook(*sys.exc_info()) if code else None
                sys.stderr.flush()
                os._exit(code)
        os.close(ours)
        with os.fdopen(theirs, "rb") as stream:
            said = stream.read()
        status = os.waitpid(pid, 0)[1]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            sys.exit(f"the writer to {place} failed")
        found.append(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(said))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

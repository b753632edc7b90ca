"""What this machine knows of its own requests, on its own disk.

The ledger can be away when an answer comes, and it can be put back to an older state. So every request is noted here,
durably, before its first byte, and every accepted run before the ledger hears of it:

    begun      submission, generation, attempt       the ledger's generation for it is at least this, or was lost
    verdict    what came of that request             waits here until the ledger has it

A line is written with one call and synced; a line torn by a crash is skipped when read. All processes of a home share
one file under a lock.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from paceline import jsonl
from paceline.durable import make_private_dir, open_private, replace_atomically, sync_dir, writing
from paceline.lifecycle import Verb
from paceline.model import PlannedFile

MOST_BYTES = 8_000_000
"""A longer file becomes the old one, and the one before it is dropped. Some 350 bytes per request: 20,000 of them."""

_NAME = "requests.jsonl"
_OLD = "requests.old.jsonl"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was begun: which attempt, the generation that the ledger gave it, and its token there.

    `files` is a fingerprint of what was to be sent; see `fingerprint`.
    """

    submission: str
    generation: int
    attempt: int
    token: str = ""
    files: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a request: the ledger's verb for it with its arguments, all of them JSON."""

    request: Request
    verb: Verb
    facts: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(files: Sequence[PlannedFile]) -> str:
    """Tell sets of planned files apart: a submission's id says where files are, not which."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.size_bytes}\0{file.mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


class Spool(Protocol):
    """Notes of requests and verdicts. Thread-safe. Raises `SinkError` where the disk can't take a note."""

    def begun(self, request: Request) -> None:
        """Note a request; durable when this returns, so it comes before the first byte."""

    def keep(self, verdict: Verdict) -> None:
        """Note a verdict; durable when this returns."""

    def handed_in(self, verdict: Verdict) -> None:
        """Note that the ledger has a verdict. May be lost in a crash; then it is handed in again."""

    def latest(self, submission: str) -> Request | None:
        """Return the newest request for a submission."""

    def accepted(self, submission: str) -> Verdict | None:
        """Return the newest accepted run of a submission, handed in or not."""

    def waiting(self) -> list[Verdict]:
        """Return the verdicts that the ledger doesn't have yet, oldest first."""


class Notes:
    """The notes as they are in memory, built up line by line."""

    def __init__(self) -> None:
        self.latest: dict[str, Request] = {}
        self.accepted: dict[str, Verdict] = {}
        self.waiting: dict[Request, Verdict] = {}

    def begun(self, request: Request) -> None:
        """Add a request."""
        known = self.latest.get(request.submission)
        if known is None or known.generation < request.generation:
            self.latest[request.submission] = request

    def keep(self, verdict: Verdict) -> None:
        """Add a verdict."""
        if verdict.verb is not Verb.PUT_BACK:  # one that came to nothing may never have begun
            self.begun(verdict.request)
        self.waiting[verdict.request] = verdict
        if verdict.verb is Verb.ACCEPTED:
            self.accepted[verdict.request.submission] = verdict

    def handed_in(self, request: Request) -> None:
        """Drop a verdict from those that wait."""
        self.waiting.pop(request, None)

    def read(self, line: bytes) -> None:
        """Add a line; one that is torn is skipped."""
        try:
            row = jsonl.decode(line)
            request = Request(row["s"], int(row["g"]), int(row["a"]), row.get("t", ""), row.get("h", ""))
            if "v" in row:
                self.keep(Verdict(request, Verb(row["v"]), row["f"]))
            elif "done" in row:
                self.handed_in(request)
            else:
                self.begun(request)
        except (ValueError, KeyError, TypeError):
            return


class FileSpool:
    """The spool of a home, in `folder`, which is made at the first note."""

    def __init__(self, folder: str, most_bytes: int = MOST_BYTES) -> None:
        self._folder = Path(folder)
        self._path = self._folder / _NAME
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._notes = Notes()
        self._file: int | None = None
        self._read_bytes = 0
        self._kept_bytes = 0  # what waited when the file was begun

    def begun(self, request: Request) -> None:
        """See `Spool`."""
        self._write(_line(request), durable=True)

    def keep(self, verdict: Verdict) -> None:
        """See `Spool`."""
        self._write(_verdict_line(verdict), durable=True)

    def handed_in(self, verdict: Verdict) -> None:
        """See `Spool`."""
        self._write(_line(verdict.request, done=True), durable=False)

    def latest(self, submission: str) -> Request | None:
        """See `Spool`."""
        with self._shared():
            return self._notes.latest.get(submission)

    def accepted(self, submission: str) -> Verdict | None:
        """See `Spool`."""
        with self._shared():
            return self._notes.accepted.get(submission)

    def waiting(self) -> list[Verdict]:
        """See `Spool`."""
        with self._shared():
            return list(self._notes.waiting.values())

    def _write(self, line: bytes, *, durable: bool) -> None:
        with self._shared():
            assert self._file is not None
            if self._read_bytes + len(line) > self._most_bytes + self._kept_bytes:
                self._turn_over()
            if os.fstat(self._file).st_size > self._read_bytes:
                line = b"\n" + line  # behind a torn line: it ends here
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, "no room")
            if durable:
                os.fsync(self._file)
            self._catch_up()

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """Hold the spool against other threads and processes, and know what they have written."""
        with self._lock, writing(str(self._path)):
            make_private_dir(str(self._folder))
            lock = open_private(str(self._folder / "lock"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._catch_up()
                yield
            finally:
                os.close(lock)

    def _catch_up(self) -> None:
        """Read what has been added; everything from the beginning, if another process turned the file over."""
        if self._file is None or not _same(self._file, self._path):
            self._open()
        assert self._file is not None
        while os.fstat(self._file).st_size > self._read_bytes:
            block = os.pread(self._file, 1 << 20, self._read_bytes)
            whole, newline, _ = block.rpartition(b"\n")
            if not newline:
                return  # a torn line at the end
            for line in whole.split(b"\n"):
                self._notes.read(line)
            self._read_bytes += len(whole) + 1

    def _open(self) -> None:
        """Open the file and read the old one. What fails here leaves nothing half open, and is tried again."""
        if self._file is not None:
            former, self._file = self._file, None
            os.close(former)
        notes = Notes()
        new = not self._path.exists()
        descriptor = open_private(str(self._path))
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
            if new:
                sync_dir(str(self._folder))
            old = self._folder / _OLD
            for line in old.read_bytes().split(b"\n") if old.exists() else ():
                notes.read(line)
        except BaseException:
            os.close(descriptor)
            raise
        self._file, self._notes, self._read_bytes, self._kept_bytes = descriptor, notes, 0, 0

    def _turn_over(self) -> None:
        """Begin a new file with what still waits. Until it has its name, the old one holds all of that too."""
        waiting = [_verdict_line(verdict) for verdict in self._notes.waiting.values()]
        kept_bytes = sum(map(len, waiting))
        fresh = self._folder / f"{_NAME}.new"
        replace_atomically(str(fresh), waiting)
        self._path.replace(self._folder / _OLD)
        fresh.replace(self._path)
        sync_dir(str(self._folder))
        self._catch_up()
        self._kept_bytes = kept_bytes


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _line(request: Request, **more: Any) -> bytes:
    row = {"s": request.submission, "g": request.generation, "a": request.attempt}
    return jsonl.encode({**row, "t": request.token, "h": request.files, **more}) + b"\n"


def _verdict_line(verdict: Verdict) -> bytes:
    return _line(verdict.request, v=verdict.verb.value, f=dict(verdict.facts))

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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from paceline import jsonl
from paceline.durable import make_private_dir, open_private, replace_atomically, sync_dir, writing
from paceline.lifecycle import Verb
from paceline.model import PlannedFile

MOST_BYTES = 8_000_000
"""A longer file becomes the old one, and the one before it is dropped. It has room for the notes of 12,000 submissions
of three files."""

_BLOCK_BYTES = 1 << 16
_PART_BYTES = 1 << 20
_BITS = 1 << 17
"""Of which two stand for a submission: beside the 1,500 of a part, one in two thousand others seems to be there."""

_NAME = "requests.jsonl"
_OLD = "requests.old.jsonl"
_FRESH = "requests.jsonl.new"


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


class _Notes:
    """One file of notes. Of those about a submission it knows only in which parts there may be any, and looks there.

    That is asked before every request, and nearly always there are none. Places kept in memory, some 600 bytes for
    each submission in every process, were a seventh of a worker's.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self.read_bytes = 0
        self._parts: list[tuple[int, bytearray]] = []  # where each begins, and a Bloom filter of its submissions

    def size(self) -> int:
        """Return how long the file is."""
        return os.fstat(self.file).st_size

    def read_on(self, waiting: dict[Request, Verdict], *, ended: bool = False) -> None:
        """Read what has been added. A torn line at the end waits for its other half, unless the file has `ended`."""
        while whole := self._lines(self.read_bytes, self.size()):
            if not whole.endswith(b"\n") and not ended:
                return
            for line in whole.removesuffix(b"\n").split(b"\n"):
                self._take(line, waiting)
                self.read_bytes += len(line) + 1

    def latest(self, submission: str) -> Request | None:
        """Return the newest request for a submission."""
        newest: Request | None = None
        for request, said in self._about(submission):
            # One that came to nothing may never have begun.
            may_have_begun = said is None or said.verb is not Verb.PUT_BACK
            if may_have_begun and (newest is None or newest.generation < request.generation):
                newest = request
        return newest

    def accepted(self, submission: str) -> Verdict | None:
        """Return the newest accepted run of a submission."""
        newest: Verdict | None = None
        for _, said in self._about(submission):
            newest = said if said is not None and said.verb is Verb.ACCEPTED else newest
        return newest

    def _take(self, line: bytes, waiting: dict[Request, Verdict]) -> None:
        if (note := _note(line)) is None:
            return
        request, said, done = note
        if done:
            waiting.pop(request, None)
            return
        if not self._parts or self.read_bytes - self._parts[-1][0] >= _PART_BYTES:
            self._parts.append((self.read_bytes, bytearray(_BITS // 8)))
        noted = self._parts[-1][1]
        for bit in _bits(request.submission):
            noted[bit >> 3] |= 1 << (bit & 7)
        if said is not None:
            waiting[request] = said

    def _about(self, submission: str) -> Iterator[tuple[Request, Verdict | None]]:
        """Give what was read about a submission, in order: it takes a millisecond for each part that has any."""
        bits, wanted = _bits(submission), f'"{submission}"'.encode()
        ends = [*(start for start, _ in self._parts[1:]), self.read_bytes]
        for (at, noted), end in zip(self._parts, ends, strict=False):
            if not all(noted[bit >> 3] >> (bit & 7) & 1 for bit in bits):
                continue
            while whole := self._lines(at, end):
                at += len(whole)
                if wanted not in whole:
                    continue
                for note in (_note(line) for line in whole.split(b"\n") if wanted in line):
                    if note is not None and note[0].submission == submission and not note[2]:
                        yield note[:2]

    def _lines(self, at: int, end: int) -> bytes:
        """Return whole lines between two places of the file, at least one; one that is cut short by `end` as it is."""
        block = b""
        while more := os.pread(self.file, min(_BLOCK_BYTES, max(end - at - len(block), 0)), at + len(block)):
            block += more
            if b"\n" in more:
                return block[: block.rindex(b"\n") + 1]
        return block


class FileSpool:
    """The spool of a home, in `folder`, which is made at the first note."""

    def __init__(self, folder: str, most_bytes: int = MOST_BYTES) -> None:
        self._folder = Path(folder)
        self._path = self._folder / _NAME
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._now: _Notes | None = None
        self._before: _Notes | None = None  # the old file
        self._waiting: dict[Request, Verdict] = {}
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
        with self._shared() as (now, before):
            newest = [one for file in (now, before) if file is not None and (one := file.latest(submission))]
            return max(newest, key=lambda one: one.generation, default=None)

    def accepted(self, submission: str) -> Verdict | None:
        """See `Spool`."""
        with self._shared() as (now, before):
            return now.accepted(submission) or (before.accepted(submission) if before is not None else None)

    def waiting(self) -> list[Verdict]:
        """See `Spool`."""
        with self._shared():
            return list(self._waiting.values())

    def _write(self, line: bytes, *, durable: bool) -> None:
        with self._shared() as (now, _):
            if now.read_bytes + len(line) > self._most_bytes + self._kept_bytes:
                now = self._turn_over()
            if now.size() > now.read_bytes:
                line = b"\n" + line  # behind a torn line: it ends here
            if os.write(now.file, line) < len(line):
                raise OSError(errno.ENOSPC, "no room")
            if durable:
                os.fsync(now.file)
            now.read_on(self._waiting)

    @contextmanager
    def _shared(self) -> Iterator[tuple[_Notes, _Notes | None]]:
        """Hold the spool against other threads and processes; give the file and the old one, with all that is there."""
        with self._lock, writing(str(self._path)):
            make_private_dir(str(self._folder))
            lock = open_private(str(self._folder / "lock"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                now = self._catch_up()
                yield now, self._before
            finally:
                os.close(lock)

    def _catch_up(self) -> _Notes:
        """Read what has been added, to another file if this one was turned over."""
        now = self._now
        if now is None or not _same(now.file, self._path):
            now = self._open()
        now.read_on(self._waiting)
        return now

    def _open(self) -> _Notes:
        """Open the file, and know the old one. What fails here leaves all as it was, and is tried again."""
        old, fresh, former = self._folder / _OLD, self._folder / _FRESH, self._now
        waiting: dict[Request, Verdict] = {}
        new = not self._path.exists()
        if new and fresh.exists():  # whoever turned the file over was killed before the last step
            fresh.replace(self._path)
        with ExitStack() as stack:
            now = _Notes(_opened(stack, self._path))
            fcntl.fcntl(now.file, fcntl.F_SETFL, os.O_APPEND)
            if new:
                sync_dir(str(self._folder))
            before = None
            if former is not None and _same(former.file, old):  # turned over once since: most of it is known
                before, waiting = former, self._waiting
            elif old.exists():
                before = _Notes(_opened(stack, old))
            if before is not None:
                before.read_on(waiting, ended=True)
            stack.pop_all()
        for gone in (former, self._before):
            if gone is not None and gone is not before:
                os.close(gone.file)
        self._now, self._before, self._waiting, self._kept_bytes = now, before, waiting, 0
        return now

    def _turn_over(self) -> _Notes:
        """Begin a new file with what still waits. Until it has its name, the old one holds all of that too."""
        waiting = [_verdict_line(verdict) for verdict in self._waiting.values()]
        kept_bytes = sum(map(len, waiting))
        fresh = self._folder / _FRESH
        replace_atomically(str(fresh), waiting)
        self._path.replace(self._folder / _OLD)
        fresh.replace(self._path)
        sync_dir(str(self._folder))
        now = self._catch_up()
        self._kept_bytes = kept_bytes
        return now


def _opened(stack: ExitStack, path: Path) -> int:
    descriptor = open_private(str(path))
    stack.callback(os.close, descriptor)
    return descriptor


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


def _bits(submission: str) -> tuple[int, int]:
    """Return which of a file's bits stand for a submission."""
    value = hash(submission)
    return value % _BITS, value // _BITS % _BITS


def _note(line: bytes) -> tuple[Request, Verdict | None, bool] | None:
    """Read a line: the request, what came of it, and whether the ledger has that. None where it is none of ours."""
    try:
        row = jsonl.decode(line)
        request = Request(row["s"], int(row["g"]), int(row["a"]), row.get("t", ""), row.get("h", ""))
        hash(request)  # another version's may have lists for texts
        return request, Verdict(request, Verb(row["v"]), dict(row["f"])) if "v" in row else None, "done" in row
    except (ValueError, KeyError, TypeError, OverflowError):
        return None

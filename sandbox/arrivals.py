"""The request log: what arrived at the sandbox, when, and what became of it. Tests judge the product by it."""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO


class Named(Protocol):
    """A file as the log keeps it; size and hash are None for one that was only referred to."""

    @property
    def name(self) -> str: ...
    @property
    def size_bytes(self) -> int | None: ...
    @property
    def sha256(self) -> str | None: ...


@dataclass(slots=True)
class Arrival:
    """One request, from the arrival of its headers on.

    ``arrived_s`` and ``answered_s`` are readings of CLOCK_MONOTONIC, comparable between processes of one machine.
    ``status`` is the one answered, None while there is no answer or if there never was one; ``end`` is then why:
    open, answered, client_left, or a fault's word like dropped and reset.
    """

    seq: int
    arrived_s: float
    wall_s: float
    method: str
    request_class: str
    key: str
    agent_id: int | str | None = None
    external_id: str | None = None
    run_id: int | str | None = None
    status: int | None = None
    end: str = "open"
    answered_s: float | None = None
    received_bytes: int = 0
    refused: bool = False
    fault: str | None = None
    upload: int | None = None
    files: bytes = b"[]"  # JSON [{name, size_bytes, sha256}]; a million files must fit
    asked_run_ids: Sequence[int | str] = ()
    asked_external_ids: Sequence[str] = ()

    def to_dict(self, *, files: bool = True) -> dict[str, Any]:
        """Give the log's JSON form, with or without the files of an upload."""
        form: dict[str, Any] = {
            "seq": self.seq,
            "t": self.arrived_s,
            "wall": self.wall_s,
            "method": self.method,
            "class": self.request_class,
            "key": self.key,
            "agent": self.agent_id,
            "external_id": self.external_id,
            "run_id": self.run_id,
            "status": self.status,
            "end": self.end,
            "answered_t": self.answered_s,
            "bytes": self.received_bytes,
            "refused": self.refused,
            "fault": self.fault,
            "upload": self.upload,
            "asked_run_ids": list(self.asked_run_ids),
            "asked_external_ids": list(self.asked_external_ids),
        }
        if files:
            form["files"] = json.loads(self.files)
        return form


@dataclass(slots=True)
class ClassCount:
    """What came for one endpoint class: statuses answered, and arrival times by key (ascending)."""

    requests: int = 0
    accepted: int = 0
    refused_429: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    times_s: dict[str, array[float]] = field(default_factory=dict)


class RequestLog:
    """Keeps every request since the start or the last ``clear``; appends each to a JSONL file once it has ended."""

    def __init__(self, path: Path | None = None) -> None:
        self._entries: list[Arrival] = []
        self._next_seq = 1
        self._first_seq = 1
        self._uploads: list[Arrival] = []
        self._file: TextIO | None = path.open("a", encoding="utf-8", buffering=1) if path else None
        self.classes: dict[str, ClassCount] = {}
        self.received_bytes = 0

    def arrive(self, method: str, request_class: str, key: str, arrived_s: float) -> Arrival:
        """Note a request whose headers have arrived."""
        entry = Arrival(
            self._next_seq, arrived_s, time.time() - (time.monotonic() - arrived_s), method, request_class, key
        )
        self._next_seq += 1
        self._entries.append(entry)
        count = self._count(request_class)
        count.requests += 1
        insort(count.times_s.setdefault(key, array("d")), arrived_s)
        return entry

    def note_files(self, entry: Arrival, files: Sequence[Named]) -> None:
        """Note what an upload contained."""
        entry.files = json.dumps(
            [{"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in files],
            separators=(",", ":"),
        ).encode("ascii")

    def begin_upload(self, entry: Arrival) -> int:
        """Number a body that is about to be read, from 1."""
        self._uploads.append(entry)
        entry.upload = len(self._uploads)
        return entry.upload

    def end(self, entry: Arrival, end: str, status: int | None) -> None:
        """Note how a request ended."""
        entry.end = end
        entry.status = status
        entry.answered_s = time.monotonic()
        if entry.seq < self._first_seq:
            return  # it began before the log was cleared
        count = self._count(entry.request_class)
        count.statuses[end if status is None else str(status)] += 1
        count.accepted += entry.run_id is not None and entry.method == "POST"
        count.refused_429 += entry.refused
        if self._file is not None:
            self._file.write(json.dumps(entry.to_dict()) + "\n")

    def note_late(self, entry: Arrival) -> None:
        """Note that a request which had already ended was accepted after all."""
        if entry.seq >= self._first_seq:
            self._count(entry.request_class).accepted += 1

    def since(self, seq: int, count: int | None = None) -> Iterator[Arrival]:
        """Go through the requests with a number above ``seq``, at most ``count``, those still open included."""
        start = max(0, seq - self._first_seq + 1)
        yield from self._entries[start : None if count is None else start + count]

    def clear(self) -> None:
        """Forget every request; numbers go on, and uploads start from 1 again."""
        self._entries.clear()
        self._first_seq = self._next_seq
        self.classes.clear()
        self._uploads.clear()
        self.received_bytes = 0

    @property
    def uploads(self) -> int:
        """Count the bodies that were begun."""
        return len(self._uploads)

    def upload_bytes(self, upload: int) -> int:
        """Say how much of a body was read so far; 0 for one that hasn't begun."""
        return self._uploads[upload - 1].received_bytes if 1 <= upload <= len(self._uploads) else 0

    def close(self) -> None:
        """Close the JSONL file, if there is one."""
        if self._file is not None:
            self._file.close()

    def _count(self, request_class: str) -> ClassCount:
        return self.classes.setdefault(request_class, ClassCount())


def fingerprint(key: str) -> str:
    """Name a key without giving it away: twelve hex digits of its SHA-256, "" for none."""
    return hashlib.sha256(key.encode()).hexdigest()[:12] if key else ""

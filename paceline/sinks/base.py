"""What a destination must do; the rest of the system knows only this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

FILE_FIELDS = ("path", "size_bytes", "mtime", "sha256", "submission", "outcome", "reason")
"""The keys of a file record, in order."""


@dataclass(frozen=True, slots=True)
class Part:
    """All that one submission leaves.

    `record` is its line of `results.jsonl` (fields of DESIGN §6, in that order); `files` are its lines of
    `files.jsonl`, in manifest order. Building it again from the same ledger gives equal values.
    """

    submission: str
    record: Mapping[str, Any]
    files: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Closing:
    """What a sink needs to commit a batch. `manifest` is the path of the manifest; `submissions` how many there are."""

    batch: str
    manifest: str
    submissions: int
    summary: Mapping[str, Any]


class Sink(Protocol):
    """One destination of one batch. Every method may be called again, after any crash, with the same effect."""

    def write(self, part: Part) -> None:
        """Make one submission's part durable, replacing an earlier one of the same submission. Raises `SinkError`."""

    def commit(self, closing: Closing) -> None:
        """Commit the final output, readable only as a whole. Raises `SinkError`; the former output stays then."""

"""What a destination must do; the rest of the system knows only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Closing:
    """What a sink needs to commit a batch. `manifest` is the path of the manifest; `submissions` how many it has.

    `still_open` tells whether the batch still waits for this commit; it is asked once the sink is ours alone, for
    another process may have committed and closed the batch since. No part of the value: two closings may be equal.
    """

    batch: str
    manifest: str
    submissions: int
    summary: Mapping[str, Any]
    still_open: Callable[[], bool] = field(default=_always, compare=False, repr=False)


class Sink(Protocol):
    """One destination of one batch. Every method may be called again, after any crash, with the same effect."""

    def write(self, part: Part) -> None:
        """Make one submission's part durable, replacing an earlier one of the same submission. Raises `SinkError`."""

    def commit(self, closing: Closing) -> None:
        """Commit the final output, readable only as a whole; do nothing if `closing.still_open()` is false.

        Raises `SinkError`; the former output stays then. `SinkBusy`: another process is at it.
        """

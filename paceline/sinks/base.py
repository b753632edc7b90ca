"""What a destination must do; the rest of the system knows only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from paceline.manifest import ManifestRow
from paceline.model import Outcome, PlannedFile, SkippedFile
from paceline.times import iso_from_ns

FILE_FIELDS = ("path", "size_bytes", "mtime", "sha256", "submission", "outcome", "reason")
"""The keys of a file record, in order."""

EXTRA_FILE_FIELDS = ("group", "metadata")
"""The keys that follow where a list, or `--group-by`, said something of the file."""


def file_record(
    file: PlannedFile | SkippedFile, outcome: Outcome, reason: str | None, submission: str | None, sha256: str | None
) -> dict[str, Any]:
    """Return a file's line of `files.jsonl`: the fields of DESIGN §6 in that order, then `EXTRA_FILE_FIELDS`."""
    mtime = None if file.mtime_ns is None else iso_from_ns(file.mtime_ns)
    values = (file.path, file.size_bytes, mtime, sha256, submission, outcome.value, reason)
    return dict(zip(FILE_FIELDS, values, strict=True)) | extras_of(file)


def skipped_record(row: ManifestRow) -> dict[str, Any]:
    """Return the line of `files.jsonl` of a manifest's row that is in no submission."""
    return file_record(row.skipped, Outcome.SKIPPED, row.reason, None, None)


def extras_of(file: PlannedFile | SkippedFile) -> dict[str, Any]:
    """Return what was said of a file, by `EXTRA_FILE_FIELDS`; empty where nothing was."""
    if not file.group and not file.metadata:
        return {}
    return {"group": file.group or None, "metadata": dict(file.metadata)}


@dataclass(frozen=True, slots=True)
class Part:
    """All that one submission leaves.

    `record` is its line of `results.jsonl` (fields of DESIGN §6, in that order, then `group` where its files are one
    group's); `files` are its lines of `files.jsonl`, in manifest order. Building it again from the same ledger gives
    equal values.
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

    def check(self, batch: str | None) -> None:
        """Make the destination and try to write there, before anything is paid for.

        Raises `UsageError` naming the place and the remedy if that fails, or if it holds the results of another batch
        than `batch` (None: don't look) and can hold those of one only.
        """

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Take the whole manifest (a path) from the machine that listed the files, before the batch counts as listed.

        For destinations that can be reached from machines without a common disk; nothing to do for the others. Raises
        `SinkError`.
        """

    def commit(self, closing: Closing) -> None:
        """Commit the final output, readable only as a whole; do nothing if `closing.still_open()` is false.

        Raises `SinkError`; the former output stays then. `SinkBusy`: another process is at it.
        """

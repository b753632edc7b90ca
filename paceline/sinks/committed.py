"""Read a folder's committed output back, submission by submission in manifest order, one in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paceline import jsonl
from paceline.errors import SinkError, UsageError
from paceline.halving import place
from paceline.model import batch_of, index_of, submission_id
from paceline.sinks.base import Part
from paceline.sinks.directory import SUCCESS
from paceline.sinks.merging import FILES, RESULTS
from paceline.sinks.places import PlaceKind, kind_of, local_path
from paceline.sinks.single import owner_of
from paceline.sinks.store import StoreSink


def is_committed(folder: str, batch: str) -> bool:
    """Tell whether the folder holds the final output of this batch."""
    try:
        return Path(folder, SUCCESS).read_text("utf-8").strip() == batch
    except (OSError, UnicodeDecodeError):
        return False


def stands(place: str, batch: str) -> bool | None:
    """Tell whether a destination holds the final output of this batch; None where that can't be told from here."""
    path = local_path(place)
    if kind_of(place) is PlaceKind.FOLDER:
        return is_committed(place, batch)
    if kind_of(place) is PlaceKind.STORE:
        try:
            return StoreSink(place).is_committed(batch)
        except (SinkError, UsageError):  # it doesn't answer, or this machine has no driver
            return None
    if path is None:
        return None
    if not os.path.lexists(path):
        return False
    owner = owner_of(place)
    return None if owner is None else owner == batch


class Committed:
    """`results.jsonl` and `files.jsonl` of one folder, read side by side."""

    def __init__(self, folder: str, batch: str) -> None:
        self._batch = batch
        self._results = _rows(Path(folder, RESULTS))
        self._files = _rows(Path(folder, FILES))
        self._file: dict[str, Any] | None = next(self._files, None)
        self._record: dict[str, Any] | None = next(self._results, None)

    def part(self, index: int) -> Part | None:
        """Return what stands there of a submission; None where its record can't be read.

        Ask in order: that of the manifest, with halves as `halving.place` orders them.
        """
        submission = submission_id(self._batch, index)
        while self._record is not None and not self._is_due(self._record, index):
            self._record = next(self._results, None)
        files = []
        while self._file is not None and not self._is_due(self._file, index):
            self._file = next(self._files, None)
        while self._file is not None and self._file.get("submission") == submission:
            files.append(self._file)
            self._file = next(self._files, None)
        if self._record is None or self._record.get("submission") != submission:
            return None
        return Part(submission, self._record, files)

    def _is_due(self, row: dict[str, Any], index: int) -> bool:
        """Tell whether a row belongs to this submission or to a later one."""
        found = str(row.get("submission"))
        ours = batch_of(found) == self._batch and found.rpartition("-")[2].isdecimal()
        return ours and place(index_of(found)) >= place(index)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Give the rows that can be read; a damaged one is left out."""
    if not path.is_file():
        return
    with open(path, "rb") as stream:
        for line in stream:
            try:
                yield jsonl.decode(line)
            except ValueError:
                yield {}

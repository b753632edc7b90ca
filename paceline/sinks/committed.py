"""Read a folder's committed output back, submission by submission in manifest order, one in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paceline import jsonl
from paceline.model import submission_id
from paceline.sinks.base import Part
from paceline.sinks.directory import FILES, RESULTS, SUCCESS


def is_committed(folder: str, batch: str) -> bool:
    """Tell whether the folder holds the final output of this batch."""
    try:
        return Path(folder, SUCCESS).read_text("utf-8").strip() == batch
    except (OSError, UnicodeDecodeError):
        return False


class Committed:
    """`results.jsonl` and `files.jsonl` of one folder, read side by side."""

    def __init__(self, folder: str, batch: str) -> None:
        self._batch = batch
        self._results = _rows(Path(folder, RESULTS))
        self._files = _rows(Path(folder, FILES))
        self._file: dict[str, Any] | None = next(self._files, None)
        self._record: dict[str, Any] | None = next(self._results, None)

    def part(self, index: int) -> Part | None:
        """Return what stands there of a submission; None where its record can't be read. Ask in order."""
        submission = submission_id(self._batch, index)
        while self._record is not None and not self._is_due(self._record, submission):
            self._record = next(self._results, None)
        files = []
        while self._file is not None and not self._is_due(self._file, submission):
            self._file = next(self._files, None)
        while self._file is not None and self._file.get("submission") == submission:
            files.append(self._file)
            self._file = next(self._files, None)
        if self._record is None or self._record.get("submission") != submission:
            return None
        return Part(submission, self._record, files)

    @staticmethod
    def _is_due(row: dict[str, Any], submission: str) -> bool:
        """Tell whether a row belongs to this submission or to a later one; ids of a batch sort by their index."""
        found = row.get("submission")
        return isinstance(found, str) and (len(found), found) >= (len(submission), submission)


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

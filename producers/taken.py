"""Take out of a plan what the manifest has already, so that planning goes on wherever it was killed.

The plan is made again from its beginning, and what was given out comes out of it: an unchanged source goes on with the
very submissions it would have given. Of a changed one no file is planned twice, and no group gets a second run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from types import TracebackType
from typing import Self

from paceline.manifest import ManifestRow
from paceline.model import PlannedFile, PlannedSubmission, SkippedFile, SkipReason, SourceFile
from producers.grouping import Grouping
from producers.known import Known
from producers.staging import Group, saying

PLACE = "a temporary file (see TMPDIR)"


class Taken:
    """The paths that a manifest has, on disk: memory doesn't grow with them. Use from one thread."""

    def __init__(self) -> None:
        self._data = sqlite3.connect("", isolation_level=None)  # a file of SQLite's own, which goes with it
        self._data.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32000;"
            "CREATE TABLE taken (path BLOB PRIMARY KEY, planned INTEGER NOT NULL) WITHOUT ROWID;"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._data.close()

    def add(self, rows: Iterable[ManifestRow]) -> None:
        """Take note of a manifest's rows."""
        values = ((_key(row.path), row.submission is not None) for row in rows)
        with saying(PLACE):
            self._data.execute("BEGIN")
            self._data.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?)", values)
            self._data.execute("COMMIT")

    def planned(self, path: str) -> bool | None:
        """Tell whether a path of the manifest is in a submission; None where the manifest doesn't have it."""
        with (
            saying(PLACE),
            closing(self._data.execute("SELECT planned FROM taken WHERE path = ?", (_key(path),))) as at,
        ):
            row = at.fetchone()
        return None if row is None else bool(row[0])

    def unskipped(self, entries: Iterable[SourceFile | SkippedFile]) -> Iterator[SourceFile | SkippedFile]:
        """Leave out what stands in the manifest as skipped."""
        return (entry for entry in entries if self.planned(entry.path) is not False)


def sift_files(
    entries: Iterable[SourceFile | SkippedFile], known: Known, taken: Taken | None
) -> Iterator[SourceFile | SkippedFile]:
    """Sift a listing; what is in a submission already has been."""
    if taken is None:
        yield from known.sift(entries)
        return
    for is_taken, some in groupby(entries, key=lambda entry: taken.planned(entry.path) is not None):
        yield from (iter if is_taken else known.sift)(some)


def sift_teams(
    groups: Iterable[Group | SkippedFile], known: Known, taken: Taken | None
) -> Iterator[Group | SkippedFile]:
    """Sift groups; what has a file in a submission already has been."""

    def kind(group: Group | SkippedFile) -> str:
        if isinstance(group, SkippedFile):
            return "file"
        done = taken is not None and any(taken.planned(file.path) for file in group.files)
        return "taken" if done else "new"

    for word, some in groupby(groups, key=kind):
        if word == "new":
            yield from known.sift_groups(group for group in some if isinstance(group, Group))
        else:
            yield from some


def remaining(
    plan: Iterable[PlannedSubmission | SkippedFile], taken: Taken, next_index: int, grouping: Grouping | None
) -> Iterator[PlannedSubmission | SkippedFile]:
    """Give what of a plan isn't in the manifest, numbered from `next_index`.

    Where a group is there in part, the rest of it turned up later, and comes out as `group_closed`; of a group that may
    be cut, it is a submission of its own.
    """
    index = next_index
    for entry in plan:
        if isinstance(entry, SkippedFile):
            if taken.planned(entry.path) is None:
                yield entry
            continue
        left = [file for file in entry.files if taken.planned(file.path) is None]
        if len(left) < len(entry.files) and grouping is not None and not grouping.cut:
            there = {file.path for file in left}
            begun = {_team(file) for file in entry.files if file.path not in there}
            yield from map(_late, (file for file in left if _team(file) in begun))
            left = [file for file in left if _team(file) not in begun]
        if left:
            yield replace(entry, index=index, files=tuple(left))
            index += 1


def _team(file: PlannedFile) -> tuple[str, str]:
    """Tell files apart by group; one without a name stands alone."""
    return file.group, "" if file.group else file.path


def _late(file: PlannedFile) -> SkippedFile:
    return SkippedFile(file.path, SkipReason.GROUP_CLOSED, file.size_bytes, file.mtime_ns, file.group, file.metadata)


def _key(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")

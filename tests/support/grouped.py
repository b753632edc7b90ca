"""Small file sets for planning by group: a listing that is handed in, and what comes out of a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from paceline.chunking import name_key
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SourceFile
from producers.sources import Source, SourceKind

Entry = SourceFile | SkippedFile
Plan = Sequence[PlannedSubmission | SkippedFile]


@dataclass
class Handed:
    """A listing that gives what it was handed, in any order; `listed` counts how often it was taken."""

    rows: Sequence[Entry]
    ordered: bool = False
    listed: int = 0

    def key(self, path: str) -> Any:
        """Return what the order compares."""
        return path.split("/")

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[Entry]:
        """Give the rows behind `after`."""
        self.listed += 1
        return (row for row in self.rows if after is None or self.key(row.path) > self.key(after))


def handed(rows: Iterable[Entry], *, ordered: bool = False) -> Source:
    """Make a source of entries."""
    return Source("/nowhere", SourceKind.FOLDER, Handed(list(rows), ordered))


def submissions(plan: Plan) -> list[PlannedSubmission]:
    """Return a plan's submissions."""
    return [entry for entry in plan if isinstance(entry, PlannedSubmission)]


def runs(plan: Plan) -> list[list[str]]:
    """Return the paths in each submission."""
    return [[file.path for file in entry.files] for entry in submissions(plan)]


def reasons(plan: Plan) -> dict[str, str]:
    """Return the reason of each path that is left out."""
    return {entry.path: entry.reason.value for entry in plan if isinstance(entry, SkippedFile)}


def paths(plan: Plan) -> Counter[str]:
    """Count how often each path comes out."""
    found: Counter[str] = Counter(entry.path for entry in plan if isinstance(entry, SkippedFile))
    return found + Counter(path for run in runs(plan) for path in run)


def check_limits(plan: Plan, limits: SizeLimits, files_per_run: int, weigh: Any = None) -> None:
    """Hold every submission against the limits, and its upload names against each other."""
    assert [entry.index for entry in submissions(plan)] == list(range(1, len(submissions(plan)) + 1))
    for entry in submissions(plan):
        assert 1 <= len(entry.files) <= min(limits.files, files_per_run)
        size = entry.size_bytes if weigh is None else weigh(entry)
        assert limits.submission_bytes is None or size <= limits.submission_bytes
        assert len({name_key(file.upload_name) for file in entry.files}) == len(entry.files)

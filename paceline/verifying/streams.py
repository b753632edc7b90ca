"""Read the files of a batch line by line, side by side, whatever is in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from paceline import jsonl
from paceline.halving import unfold
from paceline.manifest import ManifestRow, parse_row
from paceline.model import PlannedFile, batch_of, index_of, submission_id
from paceline.verifying.findings import Findings, Kind

Left = TypeVar("Left")
Right = TypeVar("Right")
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A submission as the manifest has it."""

    index: int
    id: str
    files: tuple[PlannedFile, ...]


def manifest_rows(path: str, stop: int | None, findings: Findings | None = None) -> Iterator[tuple[int, ManifestRow]]:
    """Give the manifest's rows up to byte `stop` (None: its end, which may be torn), each with its line number.

    Rows that can't be read are left out, and reported where `findings` is given.
    """
    offset = 0
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if stop is not None and offset >= stop:
                return
            offset += len(line)
            row = _row(line)
            if row is not None:
                yield number, row
            elif findings and (stop is not None or line.endswith(b"\n")):
                findings.differs(Kind.MANIFEST_ROW, expected="a row of the manifest", found=f"line {number}")


def _row(line: bytes) -> ManifestRow | None:
    try:
        row = parse_row(line)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    submission_or_reason = (row.submission is None) != (row.reason is None)
    return row if isinstance(row.path, str) and submission_or_reason and line.endswith(b"\n") else None


def groups(path: str, batch: str, stop: int | None, findings: Findings) -> Iterator[Group]:
    """Give the manifest's submissions in ascending order; report every row that doesn't belong where it stands."""
    last_index, name = 0, ""
    files: list[PlannedFile] = []
    for number, row in manifest_rows(path, stop, findings):
        findings.checked["manifest_rows"] += 1
        if row.submission is None:
            findings.checked["skipped"] += 1
            continue
        if row.submission != name:
            if files:
                yield Group(last_index, name, tuple(files))
            files, index = [], _index(row.submission, batch)
            if index is None or index <= last_index:
                findings.differs(Kind.MANIFEST_ORDER, submission=row.submission, path=row.path, found=f"line {number}")
                name = ""
                continue
            last_index, name = index, row.submission
        files.append(row.planned)
    if files:
        yield Group(last_index, name, tuple(files))


def with_halves(whole: Iterable[Group], halves: Collection[int]) -> Iterator[Group]:
    """Give submissions, each followed by those of its halves that are among `halves`."""
    for group in whole:
        for index, files in unfold(group.index, group.files, halves):
            name = group.id if index == group.index else submission_id(batch_of(group.id), index)
            yield Group(index, name, tuple(files))


def path_key(path: str) -> Key:
    """Return what the order of a listing compares."""
    return tuple(path.split("/"))


def _index(submission: str, batch: str) -> int | None:
    try:
        return index_of(submission) if batch_of(submission) == batch else None
    except (ValueError, AttributeError):
        return None


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Give the objects of a file of JSON lines with their line numbers; None for a line that is none."""
    if not path.is_file():
        return
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield number, jsonl.decode(line)
            except ValueError:
                yield number, None


def side_by_side(
    left: Iterable[tuple[Key, Left]], right: Iterable[tuple[Key, Right]]
) -> Iterator[tuple[Left | None, Right | None]]:
    """Join two streams sorted by key. Where only one has a key, the other's place is None; a key may stand twice."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[1], None
            one = next(lefts, None)
        elif one is None or other[0] < one[0]:
            yield None, other[1]
            other = next(rights, None)
        else:
            yield one[1], other[1]
            one, other = next(lefts, None), next(rights, None)

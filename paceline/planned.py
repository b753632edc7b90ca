"""Read a manifest back as the submissions it was cut into, one in memory at a time.

A manifest whose writer was killed may end anywhere. What the ledger had registered is all there, synced; whether the
last submission of the file was, nobody can tell. So it is kept, as if it had been sent: asking after what was never
sent costs time, sending again what was costs money. Only a submission that is seen to be cut off is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from paceline.durable import replace_atomically
from paceline.errors import SinkError
from paceline.manifest import ManifestRow, parse_row
from paceline.model import PlannedFile, PlannedSubmission, batch_of, index_of

_BLOCK_BYTES = 1 << 20


class ManifestDamaged(SinkError):
    """A manifest that doesn't say what was planned."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A submission and where it stands: `start` and `stop` in bytes, `gap` bytes of skipped files before it.

    `skipped` is the number of skipped files up to there.
    """

    submission: PlannedSubmission
    id: str
    gap: int
    start: int
    stop: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Extent:
    """What a manifest comes to: the last submission in it, skipped files in all, length in bytes."""

    last: Planned | None
    skipped: int
    length: int


class PlanReader:
    """Iterates over the submissions of a manifest up to byte `stop`; None: its writer may have been killed.

    Afterwards `skipped` and `offset` say what was read. Raises `ManifestDamaged`, with the line and the remedy.
    """

    def __init__(self, path: str, batch: str, stop: int | None) -> None:
        self._path = path
        self._batch = batch
        self._stop = stop
        self.skipped = 0
        self.offset = 0

    def __iter__(self) -> Iterator[Planned]:
        """Give the submissions in order."""
        index, number, files = 0, 0, list[PlannedFile]()
        start = end = gap_at = 0
        skipped = 0  # up to the submission at hand
        name = ""
        with open(self._path, "rb") as stream:
            for line in stream:
                if self._stop is not None and self.offset >= self._stop:
                    break
                number += 1
                row = self._parse(line, number, last=not stream.peek(1))
                if row is None:
                    if files and f'"submission":"{name}"'.encode() in line:
                        files = []  # cut off in the middle, so never registered
                    break
                if files and row.submission != name:
                    yield self._planned(index, name, files, (gap_at, start, end), skipped)
                    files, gap_at = [], end
                self.offset += len(line)
                if row.submission is None:
                    self.skipped += 1
                    continue
                if not files:
                    index, name, start, skipped = index + 1, row.submission, self.offset - len(line), self.skipped
                    self._check(index, name, number)
                files.append(row.planned)
                end = self.offset
        if files:
            yield self._planned(index, name, files, (gap_at, start, end), skipped)
        if self._stop is not None and self.offset != self._stop:
            raise ManifestDamaged(f"{self._path} is shorter than when it was complete: bring it back from a copy")

    def _planned(
        self, index: int, name: str, files: list[PlannedFile], at: tuple[int, int, int], skipped: int
    ) -> Planned:
        gap_at, start, stop = at
        return Planned(PlannedSubmission(index, tuple(files)), name, start - gap_at, start, stop, skipped)

    def _parse(self, line: bytes, number: int, *, last: bool) -> ManifestRow | None:
        """Parse a line; None if the file is torn there."""
        try:
            if line.endswith(b"\n"):
                return parse_row(line)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        if last and self._stop is None:
            return None
        raise ManifestDamaged(f"{self._path}, line {number}: not a manifest's; bring the file back from a copy")

    def _check(self, index: int, name: str, number: int) -> None:
        try:
            right = batch_of(name) == self._batch and index_of(name) == index
        except (ValueError, AttributeError):
            right = False
        if not right:
            text = f"{self._path}, line {number}: {name} stands where submission {index} of {self._batch} should"
            raise ManifestDamaged(f"{text}; bring the file back from a copy")


def survey(path: str, batch: str, stop: int | None) -> Extent:
    """Read a whole manifest. Raises `ManifestDamaged`."""
    reader = PlanReader(path, batch, stop)
    last: Planned | None = None
    for planned in reader:
        last = planned
    return Extent(last, reader.skipped, reader.offset)


def mend_end(
    path: str, last: Planned, files_per_run: int, key: Callable[[str], Any] = lambda path: path.split("/")
) -> bool:
    """Make sure that planning can go on behind the last submission of a file whose writer was killed.

    If it was cut off between two lines, files may be missing behind it which sort before a skipped file that stands in
    front of it, and planning goes on behind the greater of the two. So such skipped files are taken out: they are
    listed again, at their place. `key` is what the listing's order compares. True if the file was changed. Raises
    `SinkError`.
    """
    files = last.submission.files
    if len(files) >= files_per_run or not last.gap:
        return False
    with open(path, "rb") as stream:
        stream.seek(last.start - last.gap)
        lines = [stream.readline()]
        while stream.tell() < last.start:
            lines.append(stream.readline())
    end = key(files[-1].path)
    kept = [line for line in lines if key(parse_row(line).path) < end]
    if len(kept) == len(lines):
        return False
    replace_atomically(path, _with_end(path, last, kept))
    return True


def _with_end(path: str, last: Planned, gap: list[bytes]) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        left = last.start - last.gap
        while left:
            block = stream.read(min(_BLOCK_BYTES, left))
            left -= len(block)
            yield block
        yield from gap
        stream.seek(last.start)
        yield stream.read(last.stop - last.start)

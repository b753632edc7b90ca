"""Hold the records in one folder, or beside one file, against submissions and manifest."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paceline.halving import REASON, is_half, place
from paceline.model import SUBMISSION_ID, Outcome, State, Submission, batch_of, index_of
from paceline.roots import Root
from paceline.sinks.base import Part
from paceline.sinks.committed import is_committed, stands
from paceline.sinks.directory import FAILURES, RESULTS
from paceline.sinks.part_files import PartFiles
from paceline.sinks.parts import read_part
from paceline.sinks.places import PlaceKind, kind_of, parts_folder
from paceline.sinks.single import OWNER
from paceline.verifying.file_side import check_planned, group_files, part_rows
from paceline.verifying.findings import Findings, Kind
from paceline.verifying.streams import Group, Key, rows_of

_PART = re.compile(rf"({SUBMISSION_ID})\.json")
_HALF = re.compile(rb'\{"submission":"(b[0-9a-z]{9})-(\d{10,15})"')


@dataclass(frozen=True, slots=True)
class Found:
    """What a destination has of one submission; None each where it has nothing that can be read."""

    record: Mapping[str, Any] | None
    part: Part | None


def can_be_read(place: str, batch: str) -> bool:
    """Tell whether what a destination has of a batch can be read back; of a complete file, its parts may be gone."""
    parts = parts_folder(place)
    return parts is not None and (
        kind_of(place) is PlaceKind.FOLDER or Path(parts).is_dir() or stands(place, batch) is False
    )


class SinkSide:
    """One folder, or the parts of one file. Ask for submissions in ascending order, then `finish`.

    `committed` tells of a folder whether its final files count. With `root` the source files of parts are read again.
    """

    def __init__(self, place: str, batch: str, findings: Findings, root: Root | None = None) -> None:
        self.place = place
        self.folder = Path(place)
        self.committed = kind_of(place) is PlaceKind.FOLDER and is_committed(place, batch)
        self._batch = batch
        self._parts = PartFiles(parts_folder(place) or place)
        self._findings = findings
        self._root = root if kind_of(place) is not PlaceKind.FOLDER else None
        self._lines = self._records(RESULTS) if self.committed else iter(())
        self._failures = self._records(FAILURES) if self.committed else iter(())
        self._line = next(self._lines, None)

    def halves(self) -> Iterator[int]:
        """Give the indexes of halves that have a part or a committed record here, for want of a ledger."""
        if Path(self._parts.folder).is_dir():
            names = (match[1] for path in Path(self._parts.folder).iterdir() if (match := _PART.fullmatch(path.name)))
            yield from (index_of(name) for name in names if batch_of(name) == self._batch and is_half(index_of(name)))
        if self.committed:
            with open(self.folder / RESULTS, "rb") as stream:
                found = (_HALF.match(line) for line in stream)
                yield from (int(match[2]) for match in found if match and match[1].decode() == self._batch)

    def take(self, index: int, name: str) -> Found:
        """Return what there is of a submission. Ask once, in ascending order."""
        part = self._part(name)
        if not self.committed:
            return Found(None if part is None else part.record, part)
        record = self._committed_record(place(index))
        if part is not None and record is not None and part.record != record:
            path = self._parts.path_of(name)
            self._findings.differs(
                Kind.RECORD_DIFFERS, submission=name, expected=f"as in {RESULTS}", found=f"otherwise in {path}"
            )
        return Found(record, part)

    def check(
        self, found: Found, item: Submission, group: Group | None, again: Callable[[str], Submission | None]
    ) -> None:
        """Hold what there is against the submission. One that isn't exported needs no record."""
        record = found.record
        if record is None:
            if item.state is State.EXPORTED:
                self._findings.differs(Kind.RECORD_MISSING, submission=item.id, expected=str(self.folder))
            return
        self._findings.checked["records"] += 1
        if item.state not in (State.FINISHED, State.EXPORTED) or record.get("reason") != item.reason:
            item = again(item.id) or item
        if item.state not in (State.FINISHED, State.EXPORTED):
            self._findings.differs(
                Kind.RECORD_UNKNOWN, submission=item.id, expected=item.state.value, found=record.get("outcome")
            )
            return
        wanted: dict[str, Any] = {
            "batch": item.batch,
            "outcome": item.outcome.value if item.outcome else None,
            "reason": item.reason,
            "run_id": item.run_id,
            "external_id": item.external_id,
        }
        if group is not None:
            wanted["files"] = [file.path for file in group.files]
        for name, value in wanted.items():
            if record.get(name) != value:
                pair = value, record.get(name)
                wanted_text, found_text = _first_difference(*pair) if name == "files" else pair
                self._findings.differs(
                    Kind.RECORD_DIFFERS,
                    submission=item.id,
                    expected=f"{name}={wanted_text}",
                    found=f"{name}={found_text}",
                )
        if not self.committed and found.part is not None and group is not None:
            planned = group_files(group) if item.reason != REASON else ()
            check_planned(planned, part_rows(found.part), lambda _: item, self._findings, self._root)

    def finish(self, known: Callable[[str], bool]) -> None:
        """Look for records of anything else, once all submissions were asked for."""
        while self._line is not None:
            self._findings.differs(Kind.RECORD_UNKNOWN, submission=self._line[1].get("submission"), found=RESULTS)
            self._line = next(self._lines, None)
        for _, row in self._failures:
            self._findings.differs(Kind.RECORD_UNKNOWN, submission=row.get("submission"), found=FAILURES)
        if Path(self._parts.folder).is_dir():
            with os.scandir(self._parts.folder) as entries:
                for entry in entries:
                    match = _PART.fullmatch(entry.name)
                    ours = match is not None and batch_of(match[1]) == self._batch and known(match[1])
                    if not ours and not entry.name.startswith(".") and entry.name != OWNER:
                        self._findings.differs(Kind.RECORD_UNKNOWN, found=entry.path)

    def _part(self, name: str) -> Part | None:
        path = self._parts.path_of(name)
        try:
            return read_part(path, name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._findings.differs(Kind.RECORD_DAMAGED, submission=name, found=f"{path}: {error}")
            return None

    def _committed_record(self, at: Key) -> dict[str, Any] | None:
        """Take the line of a submission, and whatever stands before it that is nobody's."""
        found: dict[str, Any] | None = None
        while self._line is not None:
            found_at, row = self._line
            if found_at > at:
                break
            if found_at == at and found is None:
                found = row
                self._check_failures(row)
            else:
                kind = Kind.RECORD_TWICE if found_at == at else Kind.RECORD_UNKNOWN
                self._findings.differs(kind, submission=row.get("submission"), found=RESULTS)
            self._line = next(self._lines, None)
        return found

    def _check_failures(self, row: dict[str, Any]) -> None:
        if row.get("outcome") == Outcome.SUCCEEDED:
            return
        _, other = next(self._failures, ((), None))
        if other != row:
            self._findings.differs(
                Kind.RECORD_DIFFERS,
                submission=row.get("submission"),
                expected=f"the same line in {FAILURES}",
                found=other and other.get("submission"),
            )

    def _records(self, name: str) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Give the lines of a file with the place of what they are of; empty where that can't be told."""
        for number, row in rows_of(self.folder / name):
            if row is None:
                self._findings.differs(Kind.RECORD_DAMAGED, found=f"{self.folder / name}, line {number}")
                continue
            name = str(row.get("submission"))
            ours = re.fullmatch(rf"{self._batch}-\d{{6,15}}", name) is not None
            yield (place(index_of(name)) if ours else ()), row


def _first_difference(wanted: list[str], found: object) -> tuple[object, object]:
    if not isinstance(found, list):
        return f"{len(wanted)} paths", found
    at = next((n for n, pair in enumerate(zip(wanted, found, strict=False)) if pair[0] != pair[1]), None)
    return (len(wanted), len(found)) if at is None else (wanted[at], found[at])

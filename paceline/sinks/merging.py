"""Make a batch's final files from its manifest and its parts, one line in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import chain
from typing import Protocol

from paceline import jsonl
from paceline.errors import SinkError
from paceline.halving import halves_of
from paceline.manifest import parse_row
from paceline.model import Outcome, batch_of, index_of, submission_id
from paceline.sinks.base import Closing, skipped_record
from paceline.sinks.parts import OpenPart

RESULTS, FILES, FAILURES = "results.jsonl", "files.jsonl", "failures.jsonl"
_AFTER_PATH = b',"size_bytes":'

OpenOne = Callable[[str], AbstractContextManager[OpenPart]]
"""Opens the part of a submission. Raises `SinkError` if it is missing or another's."""


class Final(Protocol):
    """A file being written."""

    def write(self, data: bytes, /) -> object:
        """Append."""


def merge(closing: Closing, lines: Iterator[bytes], finals: Mapping[str, Final], open_one: OpenOne) -> None:
    """Write `RESULTS`, `FILES` and `FAILURES`. `lines` are the manifest's.

    Raises `SinkError` naming a part that is missing, another one's, or for other files than the manifest says.
    """
    index = 0
    for line in lines:
        submission = parse_row(line).submission
        if submission is None:
            finals[FILES].write(_skipped_line(line))
            continue
        index += 1
        if index_of(submission) != index:
            raise SinkError(f"{closing.manifest} and the parts disagree about the files of {submission}")
        _copy(submission, chain([line], lines), finals, open_one)
    if index != closing.submissions:
        raise SinkError(f"{closing.manifest} has {index} submissions, the ledger {closing.submissions}")


def _copy(submission: str, lines: Iterator[bytes], finals: Mapping[str, Final], open_one: OpenOne) -> None:
    """Copy the part of a submission, then those of its halves: they have its files where it has none."""
    with open_one(submission) as part:
        _copy_part(part, lines, finals)
        split = part.split
    for half in halves_of(index_of(submission)) if split else ():
        _copy(submission_id(batch_of(submission), half), lines, finals, open_one)


def _copy_part(part: OpenPart, lines: Iterator[bytes], finals: Mapping[str, Final]) -> None:
    """Copy a part, taking from `lines` as many of the manifest as it has files."""
    finals[RESULTS].write(part.record)
    if part.outcome != Outcome.SUCCEEDED:
        finals[FAILURES].write(part.record)
    write = finals[FILES].write
    for record in part.files:
        same_path = next(lines, b"").partition(_AFTER_PATH)[0] + _AFTER_PATH
        if not record.startswith(same_path):  # a quote within a path is escaped, so this compares whole paths
            raise SinkError(f"{part.path} has other files than the manifest: export its submission again")
        write(record)


def _skipped_line(line: bytes) -> bytes:
    return jsonl.encode(skipped_record(parse_row(line))) + b"\n"

"""Hold file records against the manifest, and on request the source files against their digests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from paceline.errors import FileProblem, SourceUnreachable
from paceline.halving import halves_of, root_of, unfold
from paceline.model import Outcome, PlannedFile, Submission, batch_of, index_of, submission_id
from paceline.roots import Root
from paceline.sinks.base import Part
from paceline.sinks.directory import FILES
from paceline.times import iso_from_ns
from paceline.verifying.findings import Findings, Kind
from paceline.verifying.streams import Group, Key, manifest_rows, path_key, rows_of, side_by_side

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK_BYTES = 1 << 20
_FIRST = itemgetter(0)

Row = dict[str, Any]
Planned = tuple[str, PlannedFile]
"""A file with its submission's id."""


def check_files(
    folder: Path,
    manifest: str,
    stop: int | None,
    batch: str,
    of: Callable[[str], Submission | None],
    findings: Findings,
    root: Root | None = None,
    halves: Collection[int] = (),
) -> None:
    """Hold a committed `files.jsonl` against the manifest, planned files first, then the skipped ones.

    `of` gives a submission; it is asked in ascending order. With `root` the source files are read again. A file's
    submission is the one that it ends in, of those among `halves`.
    """
    check_planned(_planned(manifest, stop, batch, halves), _recorded(folder, batch, findings), of, findings, root)
    skipped = ((path_key(row.path), row) for _, row in manifest_rows(manifest, stop) if row.submission is None)
    left_out = (
        (path_key(row["path"]), row)
        for _, row in rows_of(folder / FILES)
        if row and isinstance(row.get("path"), str) and row.get("submission") is None
    )
    last: Row | None = None
    for wanted, found in side_by_side(skipped, left_out):
        if wanted is None or found is None:
            path = wanted.path if wanted else str((found or {}).get("path"))
            _report_alone(found, last, None, path, findings)
        else:
            findings.checked["file_records"] += 1
            mtime = None if wanted.mtime_ns is None else iso_from_ns(wanted.mtime_ns)
            facts = {"size_bytes": wanted.size_bytes, "mtime": mtime, "outcome": "skipped", "reason": wanted.reason}
            _compare(facts, found, findings)
        last = found or last


def check_planned(
    planned: Iterable[tuple[Key, Planned]],
    recorded: Iterable[tuple[Key, Row]],
    of: Callable[[str], Submission | None],
    findings: Findings,
    root: Root | None = None,
) -> None:
    """Hold the records of files that are in submissions against what was planned; both sorted by index and path.

    The index is that of the manifest: which half a record is of is compared, not looked for.
    """
    last: Row | None = None
    for wanted, found in side_by_side(planned, recorded):
        if wanted is None or found is None:
            path = wanted[1].path if wanted else str((found or {}).get("path"))
            _report_alone(found, last, wanted and wanted[0], path, findings)
            last = found or last
            continue
        last = found
        findings.checked["file_records"] += 1
        name, file = wanted
        facts: Row = {"size_bytes": file.size_bytes, "mtime": iso_from_ns(file.mtime_ns), "submission": name}
        item = of(name)
        if item is not None and item.outcome is not None:
            facts |= {"outcome": item.outcome.value, "reason": item.reason}
        _compare(facts, found, findings)
        digest = found.get("sha256")
        if digest is not None and not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
            findings.differs(
                Kind.FILE_DIFFERS, submission=name, path=file.path, expected="a sha256", found=f"sha256={digest}"
            )
        elif root is not None and digest is not None:
            _check_digest(root, name, file, digest, findings)


def group_files(group: Group) -> Iterator[tuple[Key, Planned]]:
    """Give a submission's files as `check_planned` takes them."""
    return iter(sorted((((group.index, path_key(file.path)), (group.id, file)) for file in group.files), key=_FIRST))


def part_rows(part: Part) -> Iterator[tuple[Key, Row]]:
    """Give a part's file records as `check_planned` takes them."""
    index = index_of(part.submission)
    return iter(sorted((((index, path_key(str(row.get("path")))), dict(row)) for row in part.files), key=_FIRST))


def _planned(manifest: str, stop: int | None, batch: str, halves: Collection[int]) -> Iterator[tuple[Key, Planned]]:
    rows = (row for _, row in manifest_rows(manifest, stop) if row.submission and batch_of(row.submission) == batch)
    for submission, group in groupby(rows, key=lambda row: str(row.submission)):
        index = index_of(submission)
        files = [row.planned for row in group]
        found: list[tuple[Key, Planned]] = []
        for leaf, part in unfold(index, files, halves):
            if halves_of(leaf)[0] in halves:
                continue
            name = submission if leaf == index else submission_id(batch, leaf)
            found += (((index, path_key(file.path)), (name, file)) for file in part)
        yield from sorted(found, key=_FIRST)


def _recorded(folder: Path, batch: str, findings: Findings) -> Iterator[tuple[Key, Row]]:
    """Give the records of planned files, sorted; those that make no sense are reported here."""
    rows = _records(folder, batch, findings)
    for _, group in groupby(rows, key=lambda row: row[0][0]):
        yield from sorted(group, key=_FIRST)


def _records(folder: Path, batch: str, findings: Findings) -> Iterator[tuple[Key, Row]]:
    for number, row in rows_of(folder / FILES):
        if row is None or not isinstance(row.get("path"), str):
            findings.differs(Kind.FILE_DIFFERS, expected="a record", found=f"{folder / FILES}, line {number}")
            continue
        submission = row.get("submission")
        if submission is None:
            if row.get("outcome") != Outcome.SKIPPED:
                findings.differs(Kind.FILE_DIFFERS, path=row["path"], expected="skipped", found=row.get("outcome"))
            continue
        if not re.fullmatch(rf"{batch}-\d{{6,15}}", str(submission)):
            findings.differs(Kind.FILE_UNKNOWN, path=row["path"], found=submission)
            continue
        yield (root_of(index_of(submission)), path_key(row["path"])), row


def _report_alone(
    found: Row | None, last: Row | None, submission: str | None, path: str | None, findings: Findings
) -> None:
    if found is None:
        findings.differs(Kind.FILE_MISSING, submission=submission, path=path)
    elif last is not None and (last["path"], last.get("submission")) == (found["path"], found.get("submission")):
        findings.differs(Kind.FILE_TWICE, submission=found.get("submission"), path=path)
    else:
        findings.differs(Kind.FILE_UNKNOWN, submission=found.get("submission"), path=path, found=found.get("outcome"))


def _compare(facts: Row, found: Row, findings: Findings) -> None:
    wrong = {name: value for name, value in facts.items() if found.get(name) != value}
    if wrong:
        findings.differs(
            Kind.FILE_DIFFERS,
            submission=found.get("submission"),
            path=found["path"],
            expected=wrong,
            found={name: found.get(name) for name in wrong},
        )


def _check_digest(root: Root, name: str, file: PlannedFile, digest: str, findings: Findings) -> None:
    hasher = hashlib.sha256()
    try:
        with root.open(file) as stream:
            while block := stream.read(_BLOCK_BYTES):
                hasher.update(block)
    except SourceUnreachable:
        raise
    except FileProblem as problem:
        findings.differs(Kind.DIGEST, submission=name, path=file.path, expected=digest, found=problem.reason)
        return
    findings.checked["digests"] += 1
    if hasher.hexdigest() != digest:
        findings.differs(Kind.DIGEST, submission=name, path=file.path, expected=digest, found=hasher.hexdigest())

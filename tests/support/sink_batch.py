"""A small batch that has everything a sink may meet: odd names, odd answers, skipped files, a submission in halves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paceline.halving import REASON, halves_of
from paceline.manifest import ManifestWriter, read_manifest
from paceline.model import Outcome, PlannedFile, PlannedSubmission, SkippedFile, SkipReason, submission_id
from paceline.sinks.base import Closing, Part, file_record, skipped_record
from paceline.tables import TABLES, Row, rows_of, skipped_row

BATCH = "b123456789"
OTHER = "b987654321"
ODD = os.fsdecode(b'sub/caf\xe9\n"quote.txt')
NAMES = (
    ODD,
    '=cmd|"/c calc"!A1',
    "naïve 🧾, \u2028 '\\N.txt",
    "-1+2",
    "\ttab\r\n",
    'a","b\\',
    "\N{FULLWIDTH EQUALS SIGN}1",
)
MTIME_NS = 1_700_000_000_123_456_000


def _file(path: str, number: int, **said: Any) -> PlannedFile:
    return PlannedFile(path, number + 1, MTIME_NS + number * 10**9, f"upload {number}", **said)


LISTED = _file("listed.pdf", 20, group="Größe: 1", metadata=(("client", "Müller"), ("year", 2026), ("vip", True)))

PLAN: tuple[PlannedSubmission | SkippedFile, ...] = (
    SkippedFile("0-empty", SkipReason.EMPTY, 0, MTIME_NS),
    PlannedSubmission(1, tuple(_file(name, number) for number, name in enumerate(NAMES))),
    SkippedFile(os.fsdecode(b"locked\xff"), SkipReason.UNREADABLE),
    PlannedSubmission(2, (LISTED,)),
    PlannedSubmission(3, (_file("good", 30), _file("bad", 31))),
    SkippedFile("z", SkipReason.TOO_LARGE, 10**12, 0, "Größe: 1", (("client", None),)),
)
SUBMISSIONS = 3

ANSWERS: Mapping[str, Any] = {
    "Total, in €": {
        "status": "success",
        "value": 1234.5,
        "error": None,
        "metadata": {
            "reasoning": "It is\nthere.",
            "confidence": 0.875,
            "citations": [
                {
                    "file": "upload 0",
                    "pages": [1, 2],
                    "regions": [{"page": 1, "point": [0.25, 0.5], "text": '=SUM(A1:A2) "x"'}],
                }
            ],
            "url_citations": [{"url": "https://example.org/?a=1", "title": "@home", "cited_text": "+1"}],
        },
    },
    "=HYPERLINK(1)": {"status": "success", "value": "-2 apples", "error": None, "metadata": None},
    "Lines": {"status": "success", "value": [{"a": "naïve \ud800 \x00 🧾"}, {"a": 10**30}, []], "error": None},
    "Missing": {"status": "failed", "value": None, "error": "no\ttable;\r\nsorry", "metadata": {"confidence": None}},
}


def part(
    index: int,
    files: Sequence[PlannedFile],
    *,
    batch: str = BATCH,
    outcome: Outcome = Outcome.SUCCEEDED,
    reason: str = "completed",
    attempts: int = 1,
    data: Mapping[str, Any] | None = None,
) -> Part:
    """Return what a submission leaves."""
    name = submission_id(batch, index)
    good = outcome is Outcome.SUCCEEDED
    error = {"category": "provider", "phase": "run", "message": "=oh\x00 no", "http_status": 422}
    groups = {file.group for file in files}
    record = {
        "submission": name,
        "batch": batch,
        "outcome": outcome.value,
        "reason": reason,
        "error": None if good else error,
        "provider": "kolena",
        "account": "kolena",
        "agent": "42",
        "run_id": f"50{index}" if good else None,
        "run_url": f"https://example.org/runs/{index}" if good else None,
        "external_id": f"{batch}.{name}",
        "attempts": attempts,
        "files": [file.path for file in files],
        "planned_at": "2026-01-02T03:04:05.678Z",
        "submitted_at": "2026-01-02T03:04:06.000Z" if good else None,
        "finished_at": "2026-01-02T03:05:07.891Z",
        "usage": {"credits": 12.25, "by": {"Total, in €": 12.0}} if good else None,
        "data": dict(data or {}),
        "raw_status": "success" if good else None,
    } | ({"group": groups.pop()} if len(groups) == 1 and groups != {""} else {})
    rows = [file_record(file, outcome, reason, name, "ab" * 32 if good else None) for file in files]
    return Part(name, record, [] if reason == REASON else rows)


def parts(batch: str = BATCH) -> list[Part]:
    """Return the parts of all submissions of `PLAN`, in order: one succeeded, one failed, one was split."""
    one, two, three = (entry.files for entry in PLAN if isinstance(entry, PlannedSubmission))
    first, second = halves_of(3)
    failed = Outcome.FAILED
    return [
        part(1, one, batch=batch, data=ANSWERS),
        part(2, two, batch=batch, outcome=failed, reason="rejected"),
        part(3, three, batch=batch, outcome=failed, reason=REASON),
        part(first, three[:1], batch=batch, data={"text": "Kindo says\nso", "json": {"a": [1]}, "result": None}),
        part(second, three[1:], batch=batch, outcome=failed, reason="run_failed"),
    ]


def second_attempt(batch: str = BATCH) -> Part:
    """Return the part of submission 2 after it was sent again: another outcome, and answers where there were none."""
    return part(2, [LISTED], batch=batch, attempts=2, data={"Total": {"status": "success", "value": "7"}})


def with_second_attempt(batch: str = BATCH) -> list[Part]:
    """Return the parts of a batch whose submission 2 was sent again."""
    again = second_attempt(batch)
    return [again if one.submission == again.submission else one for one in parts(batch)]


def closing(folder: Path, batch: str = BATCH, **changes: Any) -> Closing:
    """Write `PLAN` as a manifest into a folder outside the output; return what the last export knows."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{batch}.jsonl"
    with ManifestWriter(str(manifest), batch) as writer:
        for entry in PLAN:
            writer.write(entry)
    summary = {"batch": batch, "state": "complete", "files": {"total": 13}}
    return replace(Closing(batch, str(manifest), SUBMISSIONS, summary), **changes)


def wanted(folder: Path, kept: Sequence[Part], batch: str = BATCH) -> dict[str, list[Any]]:
    """Return what a batch of `PLAN` comes to once these parts are committed, in the manifest's order, by name.

    `records` and `file_records` are the lines of `results.jsonl` and `files.jsonl` as objects; `runs`, `answers`,
    `files` and `citations` the rows of the tables.
    """
    found: dict[str, list[Any]] = {name: [] for name in ("records", "file_records", *(one.name for one in TABLES))}
    of: dict[str, Part] = {file["path"]: part for part in kept for file in part.files}
    written: set[str] = set()

    def add(one: Part) -> None:
        written.add(one.submission)
        found["records"].append(dict(one.record))
        found["file_records"] += one.files
        for name, rows in rows_of(one).items():
            found[name] += rows

    for row in read_manifest(closing(folder, batch).manifest):
        if row.submission is None:
            found["file_records"].append(skipped_record(row))
            found["files"].append(skipped_row(batch, row))
            continue
        whole = next(one for one in kept if one.submission == row.submission)
        for one in (whole, of[row.path]):
            if one.submission not in written:
                add(one)
    return found


def submission_of(name: str, entry: Mapping[str, Any] | Row) -> str | None:
    """Return whose an entry of `wanted` is, None for a skipped file's."""
    if isinstance(entry, Mapping):
        return entry.get("submission")
    table = next(one for one in TABLES if one.name == name)
    found: str | None = entry[table.names.index("submission")]
    return found

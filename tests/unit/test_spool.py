"""The spool remembers what this machine has asked for and been told, whatever dies, and whoever else writes to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paceline.lifecycle import Verb
from paceline.spool import FileSpool, Request, Verdict

FIRST = Request("b0123456789-000001", 2, 1)
SECOND = Request("b0123456789-000002", 2, 1)


def run_of(request: Request, run_id: str = "77") -> Verdict:
    return Verdict(request, Verb.ACCEPTED, {"run_id": run_id, "run_url": None})


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Give, by inode, how many bytes were written to a file since it was last synced: what a power cut would take."""
    left: dict[int, int] = {}
    write, sync = os.write, os.fsync

    def counting(descriptor: int, data: bytes) -> int:
        left[os.fstat(descriptor).st_ino] = left.get(os.fstat(descriptor).st_ino, 0) + len(data)
        return write(descriptor, data)

    def syncing(descriptor: int) -> None:
        sync(descriptor)
        left[os.fstat(descriptor).st_ino] = 0

    monkeypatch.setattr(os, "write", counting)
    monkeypatch.setattr(os, "fsync", syncing)
    return left


def test_a_note_is_on_the_disk_before_anything_is_sent(tmp_path: Path, unsynced: dict[int, int]) -> None:
    spool = FileSpool(str(tmp_path / "spool"))
    spool.begun(FIRST)
    written = (tmp_path / "spool/requests.jsonl").stat()
    assert written.st_size > 0
    assert unsynced[written.st_ino] == 0
    assert unsynced[(tmp_path / "spool").stat().st_ino] == 0  # its name is there too
    spool.keep(run_of(FIRST))
    assert unsynced[written.st_ino] == 0


def test_what_one_process_notes_another_knows(tmp_path: Path) -> None:
    one, other = FileSpool(str(tmp_path)), FileSpool(str(tmp_path))
    one.begun(FIRST)
    assert other.latest(FIRST.submission) == FIRST
    other.keep(run_of(FIRST))
    assert one.accepted(FIRST.submission) == run_of(FIRST)
    assert one.waiting() == [run_of(FIRST)]
    one.handed_in(run_of(FIRST))
    assert other.waiting() == []
    assert other.accepted(FIRST.submission) == run_of(FIRST)  # for a Redis that is put back later


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    FileSpool(str(tmp_path)).begun(FIRST)
    with (tmp_path / "requests.jsonl").open("ab") as file:
        file.write(b'{"s":"b0123456789-000009","g":')
    spool = FileSpool(str(tmp_path))
    spool.begun(SECOND)
    fresh = FileSpool(str(tmp_path))
    assert (fresh.latest(FIRST.submission), fresh.latest(SECOND.submission)) == (FIRST, SECOND)
    assert fresh.latest("b0123456789-000009") is None


def test_an_older_request_never_hides_a_newer_one(tmp_path: Path) -> None:
    spool = FileSpool(str(tmp_path))
    newer = Request(FIRST.submission, 1005, 2)
    spool.begun(newer)
    spool.begun(FIRST)
    spool.keep(run_of(FIRST))
    assert spool.latest(FIRST.submission) == newer


def test_a_full_file_is_turned_over_without_losing_what_waits(tmp_path: Path) -> None:
    spool, other = (FileSpool(str(tmp_path), most_bytes=2000) for _ in range(2))
    spool.keep(run_of(FIRST))
    for generation in range(100):
        other.begun(Request(SECOND.submission, generation, 1))
    assert max(path.stat().st_size for path in tmp_path.glob("requests*")) <= 2200
    assert [path.name for path in tmp_path.glob("requests.old*")]
    assert spool.waiting() == FileSpool(str(tmp_path)).waiting() == [run_of(FIRST)]
    assert spool.accepted(FIRST.submission) == run_of(FIRST)
    latest = spool.latest(SECOND.submission)
    assert latest is not None
    assert latest.generation == 99

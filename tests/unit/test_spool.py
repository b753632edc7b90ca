"""The spool on a real disk: what was noted is there, whatever happens to the process or the file."""

from __future__ import annotations

import json
import os
import tracemalloc
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import SinkError
from paceline.lifecycle import Verb
from paceline.model import PlannedFile
from paceline.spool import FileSpool, Request, Verdict, fingerprint


def request(number: int, generation: int = 2) -> Request:
    return Request(f"b012345678-{number:06d}", generation, 1, "0a1b", "feed")


def accepted(number: int, generation: int = 2) -> Verdict:
    return Verdict(request(number, generation), Verb.ACCEPTED, {"run_id": str(number), "run_url": None})


def test_what_was_noted_is_known_to_the_next_process(tmp_path: Path) -> None:
    first = FileSpool(str(tmp_path / "spool"))
    first.begun(request(1))
    first.begun(request(2))
    first.keep(accepted(2))
    first.keep(accepted(3))
    first.handed_in(accepted(3))

    second = FileSpool(str(tmp_path / "spool"))

    assert second.latest(request(1).submission) == request(1)
    assert second.waiting() == [accepted(2)]
    assert second.accepted(request(3).submission) == accepted(3)
    assert second.latest("b012345678-000009") is None


def test_two_processes_see_each_others_notes_at_once(tmp_path: Path) -> None:
    one, other = FileSpool(str(tmp_path)), FileSpool(str(tmp_path))
    one.begun(request(1))
    assert other.latest(request(1).submission) == request(1)
    other.keep(accepted(1))
    assert one.waiting() == [accepted(1)]
    one.handed_in(accepted(1))
    assert other.waiting() == []


def test_a_put_back_of_a_request_that_never_began_is_no_request(tmp_path: Path) -> None:
    spool = FileSpool(str(tmp_path))
    spool.keep(Verdict(request(1), Verb.PUT_BACK, {"reason": "not_sent", "unused": True}))
    assert spool.latest(request(1).submission) is None
    assert len(spool.waiting()) == 1


@pytest.mark.parametrize(
    "torn",
    [
        b'{"s":"b012345678-000002","g":',
        b"\xff\x00",
        b'{"s":1}\n[]\n{"s":"x","v":"nonsense"',
        b'{"s":["b012345678-000002"],"g":1,"a":1}',
        b'{"s":"b012345678-000002","g":1e999,"a":1}',
        b'{"s":"b012345678-000002","g":1,"a":1,"v":"accepted","f":null}',
    ],
)
def test_a_torn_or_foreign_line_costs_only_itself(tmp_path: Path, torn: bytes) -> None:
    FileSpool(str(tmp_path)).begun(request(1))
    with (tmp_path / "requests.jsonl").open("ab") as stream:
        stream.write(torn)
    spool = FileSpool(str(tmp_path))
    spool.keep(accepted(3))
    for reader in (spool, FileSpool(str(tmp_path))):
        assert reader.latest(request(1).submission) == request(1)
        assert reader.waiting() == [accepted(3)]
        reader._most_bytes = 1  # the next note turns the file over
        reader.begun(request(4))
        assert reader.waiting() == [accepted(3)]


def test_the_file_is_turned_over_and_loses_nothing_that_waits(tmp_path: Path) -> None:
    spool, other = FileSpool(str(tmp_path), most_bytes=2000), FileSpool(str(tmp_path), most_bytes=2000)
    spool.keep(accepted(0))
    for number in range(1, 200):
        (spool if number % 2 else other).begun(request(number))
    for reader in (spool, other, FileSpool(str(tmp_path), most_bytes=2000)):
        assert reader.waiting() == [accepted(0)]
        assert reader.latest(request(199).submission) == request(199)
        assert reader.latest(request(1).submission) is None  # long ago
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5000


def test_who_looks_again_after_two_turns_knows_what_both_files_say(tmp_path: Path) -> None:
    spool, other = FileSpool(str(tmp_path), most_bytes=2000), FileSpool(str(tmp_path), most_bytes=2000)
    spool.keep(accepted(0))
    for number in range(1, 60):
        other.begun(request(number))
        other.keep(accepted(number))
        other.handed_in(accepted(number))
    assert other.latest(request(1).submission) is None  # so there were two
    fresh = FileSpool(str(tmp_path), most_bytes=2000)
    for reader in (spool, other, fresh):
        assert reader.waiting() == [accepted(0)]
        for number in range(60):
            assert reader.latest(request(number).submission) == fresh.latest(request(number).submission)
            assert reader.accepted(request(number).submission) == fresh.accepted(request(number).submission)
    assert fresh.accepted(request(59).submission) == accepted(59)


class Killed(BaseException):
    """The process is gone: nothing of ours handles this."""


def test_a_turn_that_was_killed_halfway_is_ended_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spool"
    FileSpool(str(folder)).keep(accepted(1))
    replace, names = Path.replace, list[str]()

    def killed(path: Path, target: Path) -> Path:
        names.append(path.name)
        if path.parent == folder and path.name.endswith(".new"):
            raise Killed
        return replace(path, target)

    for number in (2, 3):  # the second turn is over a file that the first one left without its name
        spool = FileSpool(str(folder), most_bytes=1)
        spool.waiting()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(Killed):
                spool.begun(request(number))
    assert names[-2:] == ["requests.jsonl", "requests.jsonl.new"]

    assert FileSpool(str(folder)).waiting() == [accepted(1)]


def test_what_is_known_of_very_many_takes_little_memory(tmp_path: Path) -> None:
    row = {"g": 2, "a": 1, "t": "0" * 32, "h": "f" * 16}
    found = {"v": "accepted", "f": {"run_id": "500001", "run_url": "https://runs.example/agents/1/runs/500001"}}
    with (tmp_path / "requests.jsonl").open("w") as stream:
        for number in range(5000):
            name = f"b012345678-{number:06d}"
            for more in ({}, found, {"done": True}):
                stream.write(json.dumps({"s": name, **row, **more}) + "\n")
    spool = FileSpool(str(tmp_path))
    tracemalloc.start()
    assert spool.waiting() == []
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 200_000  # however many there are
    assert spool.accepted("b012345678-004999") is not None
    assert spool.latest("b012345678-000000") == Request("b012345678-000000", 2, 1, "0" * 32, "f" * 16)
    assert spool.latest("b012345678-005000") is None


def test_submissions_that_look_alike_to_the_index_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paceline.spool._BITS", 8)
    monkeypatch.setattr("paceline.spool._PART_BYTES", 2000)
    monkeypatch.setattr("paceline.spool._BLOCK_BYTES", 300)  # lines begin in one block and end in another
    spool = FileSpool(str(tmp_path))
    for number in range(40):
        spool.begun(request(number))
        spool.keep(accepted(number))
        spool.begun(request(number, 4))
        spool.begun(request(number, 3))
    for reader in (spool, FileSpool(str(tmp_path))):
        for number in range(40):
            assert reader.latest(request(number).submission) == request(number, 4)
            assert reader.accepted(request(number).submission) == accepted(number)
        assert reader.latest(request(40).submission) is None
        assert reader.accepted(request(40).submission) is None


def test_more_waiting_than_a_file_holds_is_kept_all_the_same(tmp_path: Path) -> None:
    spool = FileSpool(str(tmp_path), most_bytes=1000)
    for number in range(50):
        spool.keep(accepted(number))
    for number in range(50, 60):
        spool.begun(request(number))
    assert len(FileSpool(str(tmp_path), most_bytes=1000).waiting()) == 50
    assert FileSpool(str(tmp_path)).latest(request(59).submission) == request(59)


def write_many(folder: str, first: int) -> None:
    spool = FileSpool(folder, most_bytes=3000)
    for number in range(first, first + 60):
        spool.keep(accepted(number))
        if number % 2:
            spool.handed_in(accepted(number))


def test_processes_that_write_and_turn_over_at_once_lose_nothing(tmp_path: Path) -> None:
    context = get_context("spawn")
    writers = [context.Process(target=write_many, args=(str(tmp_path), first)) for first in (0, 1000, 2000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    waiting = {verdict.request.submission for verdict in FileSpool(str(tmp_path)).waiting()}
    assert waiting == {request(first + n).submission for first in (0, 1000, 2000) for n in range(0, 60, 2)}


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
    spool.begun(request(1))
    written = (tmp_path / "spool/requests.jsonl").stat()
    assert written.st_size > 0
    assert unsynced[written.st_ino] == 0
    assert unsynced[(tmp_path / "spool").stat().st_ino] == 0  # its name is there too
    spool.keep(accepted(1))
    assert unsynced[written.st_ino] == 0


def test_an_older_request_never_hides_a_newer_one(tmp_path: Path) -> None:
    spool = FileSpool(str(tmp_path))
    newer = request(1, 1005)
    spool.begun(newer)
    spool.begun(request(1))
    spool.keep(accepted(1))
    assert spool.latest(newer.submission) == newer


def test_a_disk_that_takes_nothing_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(SinkError, match="spool"):
        FileSpool(str(tmp_path / "spool")).begun(request(1))


def test_one_failed_open_is_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FileSpool(str(tmp_path)).begun(request(1))
    (tmp_path / "requests.jsonl").rename(tmp_path / "requests.old.jsonl")
    spool = FileSpool(str(tmp_path))

    def fail(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with pytest.raises(SinkError):
            spool.latest(request(1).submission)
    assert spool.latest(request(1).submission) == request(1)


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileSpool(str(tmp_path / "spool")).begun(request(1))
    finally:
        os.umask(before)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "spool").iterdir()} == {0o600}


def test_other_files_have_another_fingerprint() -> None:
    one = PlannedFile("a", 1, 2, "a")
    same = fingerprint([one])
    assert same == fingerprint([PlannedFile("a", 1, 2, "a")])
    others = [PlannedFile("b", 1, 2, "a"), PlannedFile("a", 2, 2, "a"), PlannedFile("a", 1, 3, "a")]
    assert len({same, *(fingerprint([other]) for other in others), fingerprint([])}) == 5

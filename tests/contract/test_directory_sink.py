"""The folder as a destination: what stands in it, when it counts, and what can't damage it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paceline.durable import Aside
from paceline.errors import SinkBusy, SinkError, UsageError
from paceline.manifest import ManifestWriter
from paceline.model import PlannedFile, PlannedSubmission, SkippedFile, SkipReason, submission_id
from paceline.sinks.base import FILE_FIELDS, Closing, Part
from paceline.sinks.directory import DirectorySink
from paceline.sinks.parts import decode_part
from paceline.sinks.registry import check_writable, open_sink
from paceline.times import iso_from_ns

BATCH = "b123456789"
ODD = os.fsdecode(b'sub/caf\xe9\n"quote.txt')
FINAL = ["_SUCCESS", "failures.jsonl", "files.jsonl", "manifest.jsonl", "parts", "results.jsonl", "summary.json"]
PLAN: list[PlannedSubmission | SkippedFile] = [
    SkippedFile("0-empty", SkipReason.EMPTY, 0, 1_500_000_000_123_456_789),
    PlannedSubmission(1, (PlannedFile("a", 1, 10**18, "a"), PlannedFile(ODD, 2, 10**18, "odd"))),
    SkippedFile("locked", SkipReason.UNREADABLE),
    PlannedSubmission(2, (PlannedFile('tricky","size_bytes":1', 3, 10**18, "tricky"),)),
    SkippedFile("z", SkipReason.TOO_LARGE, 10**9, 0),
]
OUTCOMES = {1: "succeeded", 2: "failed"}


def part(planned: PlannedSubmission, **data: Any) -> Part:
    """Return what a submission of `PLAN` leaves."""
    name, outcome = submission_id(BATCH, planned.index), OUTCOMES[planned.index]
    record = {"submission": name, "batch": BATCH, "outcome": outcome, "data": data}
    common = {"sha256": None, "submission": name, "outcome": outcome, "reason": None}
    files = [
        common | {"path": file.path, "size_bytes": file.size_bytes, "mtime": iso_from_ns(file.mtime_ns)}
        for file in planned.files
    ]
    return Part(name, record, files)


PARTS = [part(entry, note="naïve\n}") for entry in PLAN if isinstance(entry, PlannedSubmission)]


def closing(folder: Path, **changes: Any) -> Closing:
    """Write `PLAN` as a manifest outside the output and return what the last export knows."""
    manifest = folder / "state.jsonl"
    with ManifestWriter(str(manifest), BATCH) as writer:
        for entry in PLAN:
            writer.write(entry)
    return replace(Closing(BATCH, str(manifest), 2, {"batch": BATCH}), **changes)


def lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def content(folder: Path) -> dict[str, bytes]:
    """Return every file beneath a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with both parts in it."""
    sink = open_sink(str(tmp_path / "out"))
    for one in PARTS:
        sink.write(one)
    return tmp_path / "out"


@contextmanager
def disk_with_room_for(size_bytes: int) -> Iterator[None]:
    """Make every write beyond a file's first `size_bytes` fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_part_is_one_json_file_that_reads_back(out: Path) -> None:
    path = out / "parts" / f"{PARTS[0].submission}.json"

    whole = json.loads(path.read_bytes())

    assert whole["format"] == 1
    assert (whole["submission"], whole["record"], whole["files"]) == (
        PARTS[0].submission,
        PARTS[0].record,
        PARTS[0].files,
    )
    assert decode_part(path.read_bytes()) == PARTS[0]


def test_a_part_written_again_is_the_same_bytes(out: Path) -> None:
    before = content(out)

    for one in reversed(PARTS):
        DirectorySink(str(out)).write(one)

    assert content(out) == before


def test_keys_of_a_file_record_stand_in_the_documented_order(out: Path) -> None:
    whole = json.loads((out / "parts" / f"{PARTS[0].submission}.json").read_bytes())

    assert [tuple(file) for file in whole["files"]] == [FILE_FIELDS] * 2


def test_a_commit_leaves_exactly_the_promised_files(tmp_path: Path, out: Path) -> None:
    open_sink(str(out)).commit(closing(tmp_path, summary={"batch": BATCH, "files": {"total": 6}}))

    assert sorted(path.name for path in out.iterdir()) == FINAL
    assert lines(out / "results.jsonl") == [one.record for one in PARTS]
    assert lines(out / "failures.jsonl") == [PARTS[1].record]
    assert json.loads((out / "summary.json").read_bytes()) == {"batch": BATCH, "files": {"total": 6}}
    assert (out / "manifest.jsonl").read_bytes() == (tmp_path / "state.jsonl").read_bytes()
    assert (out / "_SUCCESS").read_text() == f"{BATCH}\n"


def test_every_row_of_the_manifest_is_one_file_record_in_its_order(tmp_path: Path, out: Path) -> None:
    open_sink(str(out)).commit(closing(tmp_path))

    skipped = {"sha256": None, "submission": None, "outcome": "skipped"}
    first = skipped | {"path": "0-empty", "size_bytes": 0, "mtime": "2017-07-14T02:40:00.123456Z", "reason": "empty"}
    locked = skipped | {"path": "locked", "size_bytes": None, "mtime": None, "reason": "unreadable"}
    large = skipped | {"path": "z", "size_bytes": 10**9, "mtime": "1970-01-01T00:00:00.000000Z", "reason": "too_large"}
    assert lines(out / "files.jsonl") == [first, *PARTS[0].files, locked, *PARTS[1].files, large]
    assert {tuple(line) for line in lines(out / "files.jsonl")} == {FILE_FIELDS}


def test_a_manifest_that_is_in_its_place_already_stays(out: Path) -> None:
    there = closing(out)
    Path(there.manifest).rename(out / "manifest.jsonl")

    open_sink(str(out)).commit(Closing(BATCH, str(out / "manifest.jsonl"), 2, {}))

    assert sorted(path.name for path in out.iterdir()) == FINAL


def test_a_commit_again_gives_the_same_bytes(tmp_path: Path, out: Path) -> None:
    done = closing(tmp_path)
    open_sink(str(out)).commit(done)
    before = content(out)

    open_sink(str(out)).commit(done)

    assert content(out) == before


def test_two_commits_at_once_are_refused_and_the_next_one_is_not(tmp_path: Path, out: Path) -> None:
    refused: list[SinkBusy] = []

    def meanwhile() -> bool:
        with pytest.raises(SinkBusy, match=str(out)) as caught:
            DirectorySink(str(out)).commit(closing(tmp_path))
        refused.append(caught.value)
        return True

    open_sink(str(out)).commit(closing(tmp_path, still_open=meanwhile))

    assert len(refused) == 1
    assert sorted(path.name for path in out.iterdir()) == FINAL
    open_sink(str(out)).commit(closing(tmp_path))


def test_a_commit_by_another_process_is_not_disturbed(tmp_path: Path, out: Path) -> None:
    code = (
        "import fcntl, os, sys\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print(flush=True)\ninput()"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(SinkBusy):
            open_sink(str(out)).commit(closing(tmp_path))
        other.kill()

    open_sink(str(out)).commit(closing(tmp_path))
    assert (out / "_SUCCESS").exists()


def test_a_late_commit_of_a_closed_batch_touches_nothing(tmp_path: Path, out: Path) -> None:
    open_sink(str(out)).commit(closing(tmp_path))
    before = {path: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.*")}
    success = (out / "_SUCCESS").stat()

    open_sink(str(out)).commit(closing(tmp_path, still_open=lambda: False, summary={"late": True}))

    assert (out / "_SUCCESS").stat() == success
    assert {path: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in before} == before


def test_a_commit_that_fails_lets_the_next_one_in(tmp_path: Path, out: Path) -> None:
    with pytest.raises(SinkError, match="the ledger 3"):
        open_sink(str(out)).commit(closing(tmp_path, submissions=3))

    open_sink(str(out)).commit(closing(tmp_path))


def test_two_closings_of_the_same_batch_are_equal(tmp_path: Path) -> None:
    assert closing(tmp_path, still_open=lambda: True) == closing(tmp_path)


def test_a_batch_of_skipped_files_only_can_be_committed(tmp_path: Path) -> None:
    manifest = tmp_path / "state.jsonl"
    with ManifestWriter(str(manifest), BATCH) as writer:
        writer.write(SkippedFile("a", SkipReason.EMPTY, 0, 0))

    open_sink(str(tmp_path / "out")).commit(Closing(BATCH, str(manifest), 0, {}))

    assert (tmp_path / "out" / "results.jsonl").read_bytes() == b""
    assert [line["outcome"] for line in lines(tmp_path / "out" / "files.jsonl")] == ["skipped"]


def test_a_missing_part_is_named_and_nothing_appears(tmp_path: Path, out: Path) -> None:
    (out / "parts" / f"{PARTS[1].submission}.json").unlink()
    before = content(out)

    with pytest.raises(SinkError, match=f"{PARTS[1].submission}.*missing"):
        open_sink(str(out)).commit(closing(tmp_path))

    assert content(out) == before


def test_a_commit_that_fails_keeps_the_former_output(tmp_path: Path, out: Path) -> None:
    done = closing(tmp_path)
    open_sink(str(out)).commit(done)
    before = content(out)
    (out / "parts" / f"{PARTS[0].submission}.json").rename(tmp_path / "aside")

    with pytest.raises(SinkError, match="missing"):
        open_sink(str(out)).commit(done)

    (tmp_path / "aside").rename(out / "parts" / f"{PARTS[0].submission}.json")
    assert content(out) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.replace(b"000001", b"000009", 1),
        lambda raw: raw.replace(b'"format":1', b'"format":2'),
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-10],
        lambda raw: raw[: -len(b"]}\n")],
        lambda raw: b"",
        lambda raw: b"{}\n",
        lambda raw: json.dumps(json.loads(raw)).encode(),
        lambda raw: raw.replace(b'{"path":"a"', b'{"path":"b"'),
        lambda raw: raw.replace(b'"path":"a","size_bytes":1', b'"path":"a\\","size_bytes":1"'),
        lambda raw: b"".join(line for line in raw.splitlines(keepends=True) if not line.startswith(b'{"path":"a"')),
    ],
)
def test_a_part_that_is_not_the_one_planned_is_named(tmp_path: Path, out: Path, damage: Any) -> None:
    path = out / "parts" / f"{PARTS[0].submission}.json"
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(SinkError, match=PARTS[0].submission):
        open_sink(str(out)).commit(closing(tmp_path))

    assert [path.name for path in out.iterdir()] == ["parts"]


def test_a_manifest_with_fewer_submissions_than_the_ledger_is_not_committed(tmp_path: Path, out: Path) -> None:
    with pytest.raises(SinkError, match="2 submissions, the ledger 3"):
        open_sink(str(out)).commit(closing(tmp_path, submissions=3))

    assert [path.name for path in out.iterdir()] == ["parts"]


def test_a_manifest_whose_submissions_are_out_of_order_is_not_committed(tmp_path: Path, out: Path) -> None:
    manifest = tmp_path / "state.jsonl"
    with ManifestWriter(str(manifest), BATCH) as writer:
        for entry in reversed(PLAN):
            writer.write(entry)

    with pytest.raises(SinkError, match="000002"):
        open_sink(str(out)).commit(Closing(BATCH, str(manifest), 2, {}))


def test_a_commit_that_breaks_off_between_two_files_does_not_count(tmp_path: Path, out: Path) -> None:
    done = closing(tmp_path)
    open_sink(str(out)).commit(done)
    (out / "manifest.jsonl").unlink()
    (out / "manifest.jsonl").mkdir()  # the last to be put in place: a rename onto a folder fails

    with pytest.raises(SinkError, match="out"):
        open_sink(str(out)).commit(done)
    assert not (out / "_SUCCESS").exists()

    (out / "manifest.jsonl").rmdir()
    open_sink(str(out)).commit(done)
    assert sorted(path.name for path in out.iterdir()) == FINAL


def test_a_missing_manifest_is_named(tmp_path: Path, out: Path) -> None:
    with pytest.raises(SinkError, match="nowhere"):
        open_sink(str(out)).commit(closing(tmp_path, manifest=str(tmp_path / "nowhere")))


def test_a_disk_that_fills_up_during_the_commit_leaves_nothing_half_written(tmp_path: Path, out: Path) -> None:
    done = closing(tmp_path)
    before = content(out)

    with disk_with_room_for(300), pytest.raises(SinkError, match=r"no room to write .*out"):
        open_sink(str(out)).commit(done)

    assert content(out) == before


def test_a_disk_that_fills_up_during_a_part_keeps_the_former_part(out: Path) -> None:
    before = content(out)
    assert isinstance(PLAN[1], PlannedSubmission)

    with disk_with_room_for(1 << 19), pytest.raises(SinkError, match=r"no room to write .*000001\.json"):
        open_sink(str(out)).write(part(PLAN[1], note="x" * (1 << 20)))

    assert content(out) == before


def test_what_crashed_writers_left_is_gone_after_the_commit(tmp_path: Path, out: Path) -> None:
    for folder in (out, out / "parts"):
        (folder / ".results.jsonl.0123456789ab.aside").write_bytes(b"half")

    open_sink(str(out)).commit(closing(tmp_path))

    assert not [name for name in content(out) if name.endswith(".aside")]


def test_a_part_being_written_while_another_commits_is_not_lost(tmp_path: Path, out: Path) -> None:
    with Aside(str(out / "parts" / "late.json")) as late:
        open_sink(str(out)).commit(closing(tmp_path))
        late.seal()
        late.publish()

    assert (out / "parts" / "late.json").exists()


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        sink = open_sink(str(tmp_path / "a" / "out"))
        for one in PARTS:
            sink.write(one)
        sink.commit(closing(tmp_path))
    finally:
        os.umask(before)

    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_an_output_that_can_be_written_is_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(str(tmp_path / "new" / "out"), BATCH)

    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(UsageError, match=r"file.*folder"):
        check_writable(str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"file.*move it away"):
        check_writable(str(tmp_path / "file" / "beneath"))
    with pytest.raises(UsageError, match=r"/proc/nothing"):
        check_writable("/proc/nothing/here")


def test_an_output_of_another_batch_is_refused_and_ones_own_is_not(tmp_path: Path, out: Path) -> None:
    check_writable(str(out), BATCH)
    with pytest.raises(UsageError, match=f"holds the results of batch {BATCH}"):
        check_writable(str(out), "b999999999")

    open_sink(str(out)).commit(closing(tmp_path))

    check_writable(str(out), BATCH)
    with pytest.raises(UsageError, match="another --to"):
        check_writable(str(out), "b999999999")


@pytest.mark.parametrize("name", ["results.jsonl", "files.jsonl", "failures.jsonl", "summary.json", "batch.json"])
def test_somebody_elses_file_that_a_commit_would_replace_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes").write_text("mine")
    check_writable(str(tmp_path), BATCH)
    (tmp_path / name).write_text('{"mine":1}\n')

    check_writable(str(tmp_path))
    with pytest.raises(UsageError, match=rf"has {name}, which is no batch's and would be replaced"):
        check_writable(str(tmp_path), BATCH)
    assert (tmp_path / name).read_text() == '{"mine":1}\n'


def test_a_list_called_as_the_manifest_is_refused_and_a_manifest_is_not(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"path":"a.pdf"}\n')
    with pytest.raises(UsageError, match=r"manifest\.jsonl, which is no batch's"):
        check_writable(str(tmp_path), BATCH)

    shutil.copy(closing(tmp_path).manifest, tmp_path / "manifest.jsonl")

    check_writable(str(tmp_path), BATCH)


def test_no_output_is_refused() -> None:
    with pytest.raises(UsageError, match="name a folder"):
        open_sink("")

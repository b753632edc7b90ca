"""The record of a batch's files: what is written, what counts, and where planning goes on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from paceline import jsonl
from paceline.chunking import chunk
from paceline.errors import SinkError
from paceline.manifest import ManifestBusy, ManifestRow, ManifestWriter, last_path, planned_files, read_manifest
from paceline.model import PlannedFile, PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile

BATCH = "b123456789"
ODD = os.fsdecode(b"caf\xe9\n.txt")
SKIPPED_LINE = b'{"path":"0","size_bytes":0,"mtime_ns":5,"submission":null,"name":null,"reason":"empty"}\n'


def submission(index: int, *paths: str) -> PlannedSubmission:
    """Return a submission of ten-byte files."""
    return PlannedSubmission(index, tuple(PlannedFile(path, 10, 5, f"up-{index}-{n}") for n, path in enumerate(paths)))


def test_every_file_is_one_row_that_reads_back(tmp_path: Path) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, BATCH) as manifest:
        manifest.write(SkippedFile(ODD, SkipReason.UNREADABLE))
        manifest.write(submission(1, "é.txt", ODD))
        manifest.flush()

    assert list(read_manifest(path)) == [
        ManifestRow(ODD, None, None, None, None, SkipReason.UNREADABLE),
        ManifestRow("é.txt", 10, 5, f"{BATCH}-000001", "up-1-0", None),
        ManifestRow(ODD, 10, 5, f"{BATCH}-000001", "up-1-1", None),
    ]
    assert (tmp_path / "manifest.jsonl").read_bytes().decode().count("\n") == 3


def test_the_files_of_a_submission_are_found_by_their_extent(tmp_path: Path) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, BATCH) as manifest:
        manifest.write(submission(1, "a"))
        extent = manifest.write(submission(2, "b", ODD))
        manifest.write(submission(3, "d"))
        manifest.flush()

    assert planned_files(path, extent) == submission(2, "b", ODD).files


def test_what_stands_behind_the_registered_length_is_cut_off(tmp_path: Path) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, BATCH) as manifest:
        manifest.write(submission(1, "a"))
        registered = manifest.flush()
        manifest.write(submission(2, "lost"))

    with ManifestWriter(path, BATCH, resume_at=registered) as manifest:
        manifest.write(submission(2, "b"))
        length = manifest.flush()

    assert [row.path for row in read_manifest(path)] == ["a", "b"]
    assert length == (tmp_path / "manifest.jsonl").stat().st_size


def test_a_manifest_shorter_than_registered_is_not_filled_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="shorter"):
        ManifestWriter(str(tmp_path / "manifest.jsonl"), BATCH, resume_at=100)


def test_two_writers_at_once_are_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, BATCH), pytest.raises(ManifestBusy):
        ManifestWriter(path, BATCH)

    ManifestWriter(path, BATCH).close()


@pytest.mark.parametrize("skipped", [0, 3])
def test_two_batches_with_one_output_never_cut_each_others_manifest(tmp_path: Path, skipped: int) -> None:
    path = tmp_path / "manifest.jsonl"
    with ManifestWriter(str(path), BATCH) as manifest:
        for number in range(skipped):
            manifest.write(SkippedFile(f"0-{number}", SkipReason.EMPTY, 0, 5))
        manifest.write(submission(1, "a"))
    before = path.read_bytes()

    for resume_at in (0, len(before)):
        with pytest.raises(SinkError, match=rf"{path}.*{BATCH}.*another --to"):
            ManifestWriter(str(path), "b999999999", resume_at)

    assert path.read_bytes() == before
    ManifestWriter(str(path), BATCH, len(before)).close()  # and nobody holds it


def test_a_file_that_is_no_manifest_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    for content in (b"my notes\n", b'{"mine": 1}\n', b"[1]\n", b'{"path":"a"}\n'):
        path.write_bytes(content)
        with pytest.raises(SinkError, match="not a manifest"):
            ManifestWriter(str(path), BATCH)
        assert path.read_bytes() == content


@pytest.mark.parametrize("left", [b'{"path":"half a li', b"", SKIPPED_LINE, SKIPPED_LINE + b'{"path'])
def test_what_a_crash_left_before_anything_was_planned_is_written_over(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(left)

    with ManifestWriter(str(path), BATCH) as manifest:
        manifest.write(submission(1, "a"))

    assert [row.path for row in read_manifest(str(path))] == ["a"]


def test_a_manifest_that_is_only_locked_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with ManifestWriter(str(path), BATCH) as manifest:
        first = manifest.write(submission(1, "a"))
        manifest.write(submission(2, "b"))
    before = path.read_bytes()

    with ManifestWriter.locked(str(path), BATCH) as manifest:
        assert path.read_bytes() == before
        with pytest.raises(ManifestBusy):
            ManifestWriter.locked(str(path), BATCH)
        manifest.resume(first.stop)
        assert manifest.offset == first.stop

    assert path.read_bytes() == before[: first.stop]


def test_reading_stops_at_the_length_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, BATCH) as manifest:
        first = manifest.write(submission(1, "a", "b"))
        manifest.write(submission(2, "c"))

    assert [row.path for row in read_manifest(path, stop=first.stop)] == ["a", "b"]
    assert [row.path for row in read_manifest(path, start=first.stop)] == ["c"]


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_manifest_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        ManifestWriter(str(tmp_path / "manifest.jsonl"), BATCH).close()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "manifest.jsonl").stat().st_mode) == 0o600


def test_nothing_registered_means_from_the_beginning(tmp_path: Path) -> None:
    assert last_path(str(tmp_path / "none"), 0) is None


@pytest.mark.parametrize("longest", [1, 5000, 200_000])
def test_planning_goes_on_behind_everything_given_out_so_far(tmp_path: Path, longest: int) -> None:
    entries: list[SourceFile | SkippedFile] = []
    for number in range(40):
        path = f"d{number // 7}/{number:03d}{'x' * (longest * (number % 3 == 0))}"
        empty = number % 4 == 1
        entries.append(SkippedFile(path, SkipReason.EMPTY, 0, 5) if empty else SourceFile(path, 10 + number, 5))
    limits = SizeLimits(files=300, file_bytes=45, submission_bytes=90)
    path = str(tmp_path / "manifest.jsonl")
    given_out: list[str] = []

    with ManifestWriter(path, BATCH) as manifest:
        for entry in chunk(entries, limits, 4):
            manifest.write(entry)
            if isinstance(entry, SkippedFile):
                given_out.append(entry.path)
            else:
                given_out += [file.path for file in entry.files]
                offset = manifest.flush()
                assert last_path(path, offset) == max(given_out, key=lambda path: path.split("/"))


def test_skipped_files_at_the_end_of_the_listing_are_not_listed_again(tmp_path: Path) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, BATCH) as manifest:
        manifest.write(submission(1, "a"))
        manifest.write(SkippedFile("b", SkipReason.EMPTY, 0, 5))
        offset = manifest.flush()

    assert last_path(path, offset) == "b"


@pytest.mark.parametrize("name", ["é.txt", "line\u2028end.txt", "\x9b31m.txt", os.fsdecode(b"caf\xe9.txt")])
def test_a_path_is_written_as_records_write_it(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, BATCH) as writer:
        writer.write(submission(1, name))
        writer.flush()

    assert jsonl.encode({"path": name})[:-1] in Path(path).read_bytes()  # final files are made by comparing bytes

"""Files that aren't what they were, through the whole way: planned, changed, sent (or not), recorded."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest

from paceline.files import SourceRoot
from paceline.model import PlannedFile, PlannedSubmission, SourceFile
from producers.planning import Cut, plan_entries
from producers.sources import resolve_source
from tests.support.rehearsal import LIMITS, Rehearsal
from tests.support.sandbox import Sandbox
from tests.support.trees import put

SIZE = 3_000_000  # several reads, and more than one write of the socket
OLD, NEW = b"o" * SIZE, b"n" * SIZE


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0", "--agent", "7:Files") as sandbox:
        yield sandbox


@pytest.fixture
def world(running: Sandbox, tmp_path: Path) -> Iterator[Rehearsal]:
    running.reset()
    for name in ("a", "odd", "z"):
        put(tmp_path / "files" / name, OLD if name == "odd" else name.encode())
    made = Rehearsal(running, tmp_path)
    yield made
    made.kolena.close()


def rewritten(path: Path) -> None:
    """Write in place: another content of the same size."""
    path.write_bytes(NEW)


def replaced(path: Path) -> None:
    """Put another file of the same size in its place."""
    put(path.parent / ".next", NEW).replace(path)


def shrunk(path: Path) -> None:
    """Cut it off in the middle."""
    os.truncate(path, SIZE // 2)


def grown(path: Path) -> None:
    """Write on at its end."""
    with path.open("ab") as file:
        file.write(b"more")


def emptied(path: Path) -> None:
    """Leave nothing in it."""
    os.truncate(path, 0)


def made_a_fifo(path: Path) -> None:
    """Leave a FIFO in its place, which nobody writes to."""
    path.unlink()
    os.mkfifo(path)


def made_a_way_out(path: Path) -> None:
    """Leave a symlink out of the source in its place, to a file that looks the same."""
    status = path.stat()
    outside = put(path.parents[1] / "outside", OLD)
    os.utime(outside, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()
    path.symlink_to(outside)


def made_a_folder(path: Path) -> None:
    """Leave a folder in its place."""
    path.unlink()
    path.mkdir()


def outcome_of_the_others(world: Rehearsal) -> set[str]:
    """Tell how the two files ended that nobody touched."""
    return {world.file_records()[name]["outcome"] for name in ("a", "z")}


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (Path.unlink, "file_missing"),
        (shrunk, "file_changed"),
        (grown, "file_changed"),
        (emptied, "file_changed"),
        (rewritten, "file_changed"),
        (replaced, "file_changed"),
        (made_a_fifo, "file_missing"),
        (made_a_way_out, "file_missing"),
        (made_a_folder, "file_missing"),
    ],
)
def test_a_file_that_changed_between_plan_and_upload_is_not_sent_and_named(
    world: Rehearsal, happens: Callable[[Path], object], reason: str
) -> None:
    batch = world.plan_folder(world.folder / "files")
    happens(world.folder / "files" / "odd")
    world.run()
    assert world.states(batch) == {"exported": 3}
    assert len(world.sandbox.log(request_class="add")) == 2
    assert outcome_of_the_others(world) == {"succeeded"}
    record = world.records()["odd"]
    assert (record["outcome"], record["reason"], record["attempts"]) == ("failed", reason, 0)
    assert "odd" in record["error"]["message"]
    assert world.file_records()["odd"]["reason"] == reason


class Meddler(SourceRoot):
    """A source where something happens to one file after its first piece was read; a small one is read at once."""

    def __init__(self, place: str, happens: Callable[[Path], object]) -> None:
        super().__init__(place)
        self._target = Path(place) / "odd"
        self._happens: list[Callable[[Path], object]] = [happens]

    def open(self, file: PlannedFile | SourceFile) -> IO[bytes]:
        """Open a file as usual; that one comes with a surprise."""
        stream = super().open(file)
        return cast("IO[bytes]", _Surprise(stream, self._meddle)) if file.path == self._target.name else stream

    def read(self, file: PlannedFile | SourceFile) -> bytes:
        """Read a file as usual; to that one something happens before."""
        if file.path == self._target.name:
            self._meddle()
        return super().read(file)

    def _meddle(self) -> None:
        while self._happens:
            self._happens.pop()(self._target)


class _Surprise:
    def __init__(self, stream: IO[bytes], happens: Callable[[], None]) -> None:
        self._stream = stream
        self._after_first_read = happens

    def __enter__(self) -> _Surprise:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size_bytes: int) -> bytes:
        data = self._stream.read(size_bytes)
        self._after_first_read()
        return data


@pytest.mark.parametrize("happens", [shrunk, grown, emptied, rewritten])
def test_a_file_written_to_during_its_upload_ends_the_request_and_starts_nothing(
    world: Rehearsal, happens: Callable[[Path], object]
) -> None:
    root = Meddler(str(world.folder / "files"), happens)
    world.opened = lambda _place: root
    batch = world.plan_folder(world.folder / "files")
    world.run()
    assert world.states(batch) == {"exported": 3}
    assert outcome_of_the_others(world) == {"succeeded"}
    record = world.records()["odd"]
    assert (record["outcome"], record["reason"], record["run_id"]) == ("failed", "file_changed", None)
    assert record["external_id"] not in world.accepted()
    assert len(world.sandbox.log(request_class="add")) == 3  # it was begun, once


@pytest.mark.parametrize("happens", [Path.unlink, replaced, made_a_fifo])
def test_a_file_whose_name_goes_during_its_upload_is_sent_as_it_was(
    world: Rehearsal, happens: Callable[[Path], object]
) -> None:
    root = Meddler(str(world.folder / "files"), happens)
    world.opened = lambda _place: root
    batch = world.plan_folder(world.folder / "files")
    world.run()
    assert world.states(batch) == {"exported": 3}
    assert world.file_records()["odd"]["outcome"] == "succeeded"
    assert world.file_records()["odd"]["sha256"] == hashlib.sha256(OLD).hexdigest()
    assert set(world.accepted().values()) == {1}


@pytest.mark.parametrize(
    ("happens", "reason"), [(Path.unlink, "file_missing"), (rewritten, "file_changed"), (made_a_fifo, "file_missing")]
)
def test_a_file_that_changes_while_its_neighbour_is_sent_ends_the_request_and_starts_nothing(
    world: Rehearsal, happens: Callable[[Path], object], reason: str
) -> None:
    root = Meddler(str(world.folder / "files"), lambda _odd: happens(world.folder / "files" / "z"))
    world.opened = lambda _place: root
    batch = world.plan_folder(world.folder / "files", files_per_run=3)
    world.run()
    assert world.states(batch) == {"exported": 1}
    assert world.accepted() == {}
    assert {row["reason"] for row in world.file_records().values()} == {reason}
    assert "'z'" in world.records()["a"]["error"]["message"]


def test_a_hundred_thousand_files_in_one_folder_are_planned_each_once(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for number in range(100_000):
        file = os.open(f"{number:06d}", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)
        os.write(file, b"x")
        os.close(file)
    os.close(descriptor)

    planned = [
        one for one in plan_entries(resolve_source(str(folder)), Cut(LIMITS, 300)) if isinstance(one, PlannedSubmission)
    ]

    shutil.rmtree(folder)  # pytest would keep it for three runs
    assert [one.index for one in planned] == list(range(1, 335))
    assert [file.path for one in planned for file in one.files] == [f"{number:06d}" for number in range(100_000)]

"""Files that are there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paceline.durable import (
    ASIDE,
    Aside,
    make_private_dir,
    remove_durably,
    remove_leftovers,
    replace_atomically,
    writing,
)
from paceline.errors import SinkError


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Let everybody do everything, unless the code says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    """Return what is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_old_content_is_replaced_as_a_whole(tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.write_bytes(b"old")

    replace_atomically(str(place), iter([b"new", b" and", b" longer"]))

    assert place.read_bytes() == b"new and longer"
    assert names(tmp_path) == ["x.json"]


def test_a_writer_that_fails_leaves_the_old_content_and_no_trace(tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        replace_atomically(str(place), chunks())

    assert place.read_bytes() == b"old"
    assert names(tmp_path) == ["x.json"]


@pytest.mark.usefixtures("no_umask")
def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    make_private_dir(str(folder))
    replace_atomically(str(folder / "x"), [b"x"])

    assert (mode(tmp_path / "a"), mode(folder), mode(folder / "x")) == (0o700, 0o700, 0o600)


def test_a_umask_that_takes_everything_away_leaves_us_our_own(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        make_private_dir(str(tmp_path / "a" / "b"))
        replace_atomically(str(tmp_path / "a" / "b" / "x"), [b"x"])
    finally:
        os.umask(before)

    assert (mode(tmp_path / "a" / "b"), mode(tmp_path / "a" / "b" / "x")) == (0o700, 0o600)


def test_a_folder_that_is_there_keeps_its_permissions(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)

    make_private_dir(str(folder))

    assert mode(folder) == 0o755


def test_what_a_crashed_writer_left_is_removed_and_a_living_one_is_not_disturbed(tmp_path: Path) -> None:
    crash = f"""
import os
from paceline.durable import Aside
aside = Aside({str(tmp_path / "x.json")!r})
aside.write(b"half")
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", crash], check=False)
    assert len(names(tmp_path)) == 1

    with Aside(str(tmp_path / "x.json")) as living:
        assert remove_leftovers(str(tmp_path)) == 1
        living.write(b"whole")
        living.seal()
        living.publish()

    assert (tmp_path / "x.json").read_bytes() == b"whole"
    assert names(tmp_path) == ["x.json"]


def test_only_asides_are_taken_for_leftovers(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / f"theirs{ASIDE}").write_bytes(b"")
    (tmp_path / "x.json").write_bytes(b"")

    assert remove_leftovers(str(tmp_path)) == 0
    assert remove_leftovers(str(tmp_path / "missing")) == 0
    assert len(names(tmp_path)) == 3


def test_a_full_disk_leaves_the_old_content_and_names_the_file(tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(SinkError, match=r"no room to write .*x\.json: free"):
            replace_atomically(str(place), [b"x" * (1 << 19)] * 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert place.read_bytes() == b"old"
    assert names(tmp_path) == ["x.json"]


def test_a_device_without_room_is_a_full_disk() -> None:
    with pytest.raises(SinkError, match="no room"), writing("/dev/full"), open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.EROFS, "not allowed"), (errno.EACCES, "writable"), (errno.EIO, "mend"), (errno.EDQUOT, "free")],
)
def test_every_failure_names_the_place_and_the_remedy(number: int, says: str) -> None:
    with pytest.raises(SinkError, match=f"/out/x.*{says}|{says}.*/out/x"), writing("/out/x"):
        raise OSError(number, os.strerror(number))


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")

    with pytest.raises(SinkError, match="a file stands"):
        make_private_dir(str(tmp_path / "out" / "parts"))


def test_removing_what_is_not_there_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")

    remove_durably(str(tmp_path / "x"))
    remove_durably(str(tmp_path / "x"))

    assert names(tmp_path) == []

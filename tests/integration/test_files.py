"""Opening real source files: only those planned, only beneath the root, and never stuck."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import FileChanged, FileMissing, SourceUnreachable
from paceline.files import SourceRoot
from paceline.model import PlannedFile, SourceFile
from producers.walking import walk
from tests.support.trees import ODD_NAMES, as_another_user, put, put_deep, put_raw, put_socket, remove_deep


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty source."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def planned(root: Path, path: str) -> PlannedFile:
    """Return a file as it would be planned now, symlinks followed."""
    found = os.stat(os.path.join(root, path))  # noqa: PTH116, PTH118 - Path would tidy the path up
    return PlannedFile(path, found.st_size, found.st_mtime_ns, "name")


def refuse(root: Path, file: PlannedFile | SourceFile, error: type[Exception]) -> None:
    """Expect both ways to refuse the file, naming it."""
    source = SourceRoot(str(root))
    for act in (source.check, source.open):
        with pytest.raises(error) as caught:
            act(file)
        assert caught.value.path == file.path  # type: ignore[attr-defined]  # every FileProblem has one


def test_every_listed_file_can_be_opened_and_read(root: Path) -> None:
    for name in ODD_NAMES:
        put_raw(root, name, name)
    put(root / "a" / "b" / "c", b"deep")
    (root / "a" / "link").symlink_to("b/c")
    (root / "a" / "absolute").symlink_to(root / "a" / "b" / "c")
    (root / "a" / "b" / "up").symlink_to("../link")
    source = SourceRoot(str(root))

    entries = list(walk(str(root)))

    assert len(entries) == len(ODD_NAMES) + 4
    for entry in entries:
        assert isinstance(entry, SourceFile)
        source.check(entry)
        with source.open(entry) as file:
            assert file.read() == (b"deep" if entry.path.startswith("a/") else os.fsencode(entry.path))


def test_a_file_that_is_gone_is_missing(root: Path) -> None:
    put(root / "another")
    refuse(root, SourceFile("a", 1, 1), FileMissing)
    refuse(root, SourceFile("a/b", 1, 1), FileMissing)


@pytest.mark.parametrize("content", [b"", b"x", b"longer than before"])
def test_a_file_of_another_size_has_changed(root: Path, content: bytes) -> None:
    put(root / "a", b"before")
    file = planned(root, "a")
    put(root / "a", content)
    os.utime(root / "a", ns=(file.mtime_ns, file.mtime_ns))

    refuse(root, file, FileChanged)


def test_a_file_of_another_time_has_changed(root: Path) -> None:
    put(root / "a", b"before")
    file = planned(root, "a")
    os.utime(root / "a", ns=(file.mtime_ns + 1000, file.mtime_ns + 1000))

    refuse(root, file, FileChanged)


def test_what_became_of_a_file_is_never_opened_in_its_place(root: Path) -> None:
    put(root / "a")
    file = planned(root, "a")
    (root / "a").unlink()
    (root / "a").mkdir()
    refuse(root, file, FileMissing)
    (root / "a").rmdir()
    os.mkfifo(root / "a")
    refuse(root, file, FileMissing)
    (root / "a").unlink()
    put_socket(root / "a")
    refuse(root, file, FileMissing)


def test_a_writer_waiting_at_a_fifo_is_not_let_in(root: Path) -> None:
    os.mkfifo(root / "a")
    let_in = threading.Event()

    def wait() -> None:
        os.close(os.open(root / "a", os.O_WRONLY))
        let_in.set()

    writer = threading.Thread(target=wait, daemon=True)
    writer.start()
    refuse(root, SourceFile("a", 0, 1), FileMissing)
    assert not let_in.is_set()

    os.close(os.open(root / "a", os.O_RDONLY))
    writer.join(10)
    assert let_in.is_set()


def test_no_symlink_leads_out_wherever_it_stands(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside" / "a")
    put(tmp_path / "source-sibling" / "a")
    (root / "file").symlink_to("../outside/a")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "sibling").symlink_to("../source-sibling/a")
    (root / "proc").symlink_to("/proc/self/cwd")
    (root / "loop").symlink_to("loop")

    refuse(root, planned(root, "file"), FileMissing)
    refuse(root, planned(root, "folder/a"), FileMissing)
    refuse(root, planned(root, "sibling"), FileMissing)
    refuse(root, planned(root, "proc/pyproject.toml"), FileMissing)
    refuse(root, SourceFile("loop", 1, 1), FileMissing)


@pytest.mark.parametrize(
    "path", ["../outside/a", "sub/../../outside/a", "/etc/passwd", "sub/../a", "./a", "", "a/", "\0"]
)
def test_a_path_that_was_never_listed_is_not_followed(root: Path, tmp_path: Path, path: str) -> None:
    put(tmp_path / "outside" / "a")
    put(root / "a")
    (root / "sub").mkdir()

    refuse(root, SourceFile(path, 1, (root / "a").stat().st_mtime_ns), FileMissing)


def test_a_folder_that_becomes_a_symlink_out_is_not_followed(root: Path, tmp_path: Path) -> None:
    put(root / "sub" / "a")
    file = planned(root, "sub/a")
    (root / "sub").rename(tmp_path / "moved")
    (root / "sub").symlink_to(tmp_path / "moved")

    refuse(root, file, FileMissing)


@pytest.fixture
def just_before_opening() -> Iterator[dict[str, Callable[[], object]]]:
    """Give a place for what shall happen at the last moment before a name is opened, once.

    The interpreter announces every open to its audit hooks; one can't be taken out again, so it is left idle.
    """
    actions: dict[str, Callable[[], object]] = {}

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and actions and arguments[0] in actions:
            actions.pop(str(arguments[0]))()

    sys.addaudithook(hook)
    yield actions
    actions.clear()


@pytest.mark.parametrize("other", ["a symlink out", "other content", "a FIFO", "a folder"])
@pytest.mark.parametrize("folder", ["", "sub/"])
@pytest.mark.parametrize("way", ["open", "read"])
def test_what_takes_the_files_place_at_the_last_moment_is_not_read(
    root: Path, tmp_path: Path, just_before_opening: dict[str, Callable[[], object]], other: str, folder: str, way: str
) -> None:
    whole, root = root, root / folder
    put(root / "planned.txt", b"good")
    file = planned(whole, f"{folder}planned.txt")
    os.utime(put(tmp_path / "secret", b"evil"), ns=(file.mtime_ns, file.mtime_ns))
    if other == "a symlink out":
        (root / "next").symlink_to(tmp_path / "secret")
    elif other == "other content":
        put(root / "next", b"another size")
    elif other == "a FIFO":
        os.mkfifo(root / "next")
    else:
        (root / "next").mkdir()

    def exchange() -> None:
        (root / "planned.txt").unlink()
        (root / "next").rename(root / "planned.txt")

    just_before_opening["planned.txt"] = exchange

    with pytest.raises((FileMissing, FileChanged)):
        getattr(SourceRoot(str(whole)), way)(file)

    assert not just_before_opening, "the file was opened without being announced"


@pytest.mark.parametrize("path", ["a", "sub/a"])
def test_a_file_read_at_once_is_the_file_as_planned(root: Path, path: str) -> None:
    file = planned(root, put(root / path, b"one\ntwo").relative_to(root).as_posix())
    assert SourceRoot(str(root)).read(file) == b"one\ntwo"


@pytest.mark.parametrize("change", [b"longer than it was", b"short", b"as long"])
def test_a_file_that_changes_while_it_is_read_at_once_is_noticed(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    file = planned(root, put(root / "a", b"content").name)
    read = os.read

    def read_and_change(descriptor: int, size_bytes: int) -> bytes:
        data = read(descriptor, size_bytes)
        (root / "a").write_bytes(change)
        os.utime(root / "a", ns=(1, 1))
        return data

    monkeypatch.setattr(os, "read", read_and_change)
    with pytest.raises(FileChanged):
        SourceRoot(str(root)).read(file)


def test_a_file_that_is_given_in_sips_is_read_to_its_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = planned(root, put(root / "a", b"content").name)
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size_bytes: read(descriptor, min(size_bytes, 3)))
    assert SourceRoot(str(root)).read(file) == b"content"


def test_a_file_that_cant_be_read_just_now_is_not_taken_for_another_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = planned(root, put(root / "a", b"content").name)

    def later(descriptor: int, size_bytes: int) -> bytes:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "read", later)
    with pytest.raises(SourceUnreachable):
        SourceRoot(str(root)).read(file)


def test_a_root_that_is_held_opens_a_folder_once_and_closes_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        planned(root, put(root / path, path.encode()).relative_to(root).as_posix()) for path in ("a", "s/b", "s/c")
    ]
    before = os.listdir("/dev/fd")
    opened: list[Any] = []
    opens = os.open

    def noted(path: Any, *arguments: Any, **options: Any) -> int:
        opened.append(path)
        return opens(path, *arguments, **options)

    with SourceRoot(str(root)).held() as source:
        monkeypatch.setattr(os, "open", noted)
        source.check_all(files)
        assert opened == [str(root), str(root), "s"]
        assert [source.read(file) for file in files[1:]] == [b"s/b", b"s/c"]
        assert opened == [str(root), str(root), "s", "b", "c"]
        with source.open(files[0]) as stream:
            assert stream.read() == b"a"
    assert os.listdir("/dev/fd") == before


def test_a_folder_exchanged_while_it_is_held_counts_where_the_old_one_isnt_as_planned(root: Path) -> None:
    put(root / "s/a", b"before")
    old = planned(root, "s/a")
    with SourceRoot(str(root)).held() as source:
        assert source.read(old) == b"before"
        (root / "s").rename(root / "moved")
        put(root / "s/a", b"after that")
        put(root / "s/b", b"new")
        assert source.read(planned(root, "s/b")) == b"new"
        assert source.read(planned(root, "s/a")) == b"after that"
        with pytest.raises(FileChanged):
            source.read(old)
        shutil.rmtree(root / "s")
        (root / "s").symlink_to("moved")
        assert source.read(planned(root, "s/a")) == b"before"
        source.check(planned(root, put(root / "a", b"1").name))
        os.utime(root / "a", ns=(1, 1))
        for name in ("/a", "s/..", "s/.", "s/", "s/a\0b"):
            with pytest.raises(FileMissing):
                source.read(PlannedFile(name, 1, 1, "name"))


def test_a_folder_held_is_let_go_for_a_way_out_that_takes_its_place(root: Path, tmp_path: Path) -> None:
    put(root / "s/a", b"inside")
    put(tmp_path / "elsewhere/b", b"secret")
    secret = planned(tmp_path, "elsewhere/b")
    with SourceRoot(str(root)).held() as source:
        source.check(planned(root, "s/a"))
        shutil.rmtree(root / "s")
        (root / "s").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(FileMissing, match="leads out"):
            source.read(PlannedFile("s/b", secret.size_bytes, secret.mtime_ns, "name"))


def test_a_single_file_is_a_root_for_itself_only(root: Path) -> None:
    put(root / "a", b"one")
    put(root / "b", b"two")
    source = SourceRoot(str(root / "a"))

    with source.open(planned(root, "a")) as file:
        assert file.read() == b"one"
    with pytest.raises(FileMissing):
        source.check(planned(root, "b"))


def test_a_root_that_is_gone_is_not_taken_for_the_folder_above(root: Path) -> None:
    put(root / "a")

    refuse(root / "gone", planned(root, "a"), SourceUnreachable)


@pytest.mark.parametrize("path", ["a", "sub/a"])
def test_a_mount_point_with_nothing_mounted_is_not_blamed_on_the_file(root: Path, path: str) -> None:
    put(root / path)
    file = planned(root, path)
    shutil.rmtree(root)
    root.mkdir()

    refuse(root, file, SourceUnreachable)
    with pytest.raises(SourceUnreachable, match=rf"{root}.*is empty.*mount"):
        SourceRoot(str(root)).check(file)


def test_a_root_that_goes_away_later_is_not_blamed_on_the_file(root: Path) -> None:
    put(root / "a")
    file, source = planned(root, "a"), SourceRoot(str(root))
    (root / "a").unlink()
    root.rmdir()

    for act in (source.check, source.open):
        with pytest.raises(SourceUnreachable, match="mount"):
            act(file)


@pytest.mark.parametrize("call", ["stat", "open"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN])
def test_a_disk_that_does_not_answer_is_not_blamed_on_the_file(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    put(root / "a")
    file = planned(root, "a")
    real = getattr(os, call)

    def failing(name: Any, *arguments: Any, **options: Any) -> Any:
        if name == "a":
            raise OSError(number, os.strerror(number), name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(os, call, failing)  # no such disk can be had here

    with pytest.raises(SourceUnreachable, match=rf"{root}.*{os.strerror(number)}.*mount") as caught:
        SourceRoot(str(root)).open(file)
    assert caught.value.path == "a"


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP])
def test_what_is_about_the_file_stays_the_files(root: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    put(root / "a")
    file = planned(root, "a")
    real = os.open

    def failing(name: Any, *arguments: Any, **options: Any) -> int:
        if name == "a":
            raise OSError(number, os.strerror(number), name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)

    with pytest.raises(FileMissing):
        SourceRoot(str(root)).open(file)


def test_a_name_longer_than_any_file_has_is_missing(root: Path) -> None:
    put(root / "a")

    refuse(root, SourceFile("n" * 256, 1, 1), FileMissing)


def test_a_file_in_a_tree_longer_than_a_path_may_be_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    try:
        path = put_deep(folder, 100, "n" * 200, "empty")
        [entry] = walk(str(folder))

        assert entry.path == path
        SourceRoot(str(folder)).open(SourceFile(path, 0, entry.mtime_ns or 0)).close()
    finally:
        remove_deep(folder)


def test_a_file_that_may_not_be_read_is_missing_before_it_is_sent(root: Path, tmp_path: Path) -> None:
    put(root / "a").chmod(0o000)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    root.chmod(0o755)
    found = (root / "a").stat()

    printed = as_another_user(
        "from paceline.files import SourceRoot\nfrom paceline.model import SourceFile\n"
        "from paceline.errors import FileMissing\n#become\n"
        "file = SourceFile('a', int(sys.argv[2]), int(sys.argv[3]))\n"
        "for act in (SourceRoot(sys.argv[1]).check, SourceRoot(sys.argv[1]).open):\n"
        "    try: act(file)\n    except FileMissing as error: print(error)",
        str(root),
        str(found.st_size),
        str(found.st_mtime_ns),
    )

    assert printed.count("Permission denied") == 2


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Leave no descriptor to open a file with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_shortage_of_ours_is_not_blamed_on_the_file(root: Path, request: pytest.FixtureRequest) -> None:
    put(root / "a")
    file, source = planned(root, "a"), SourceRoot(str(root))
    request.getfixturevalue("few_descriptors")

    for act in (source.check, source.open):
        with pytest.raises(OSError, match="Too many open files") as caught:
            act(file)
        assert caught.value.errno == errno.EMFILE


def test_looking_at_files_leaves_no_descriptor_open(root: Path) -> None:
    put(root / "a" / "b")
    (root / "out").symlink_to("/etc")
    before = sorted(os.listdir("/proc/self/fd"))

    source = SourceRoot(str(root))
    source.check(planned(root, "a/b"))
    source.open(planned(root, "a/b")).close()
    for path in ("a/c", "c/a", "a", "out", "a/b/c"):
        refuse(root, SourceFile(path, 1, 1), FileMissing)
    refuse(root, SourceFile("a/b", 2, 1), FileChanged)

    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_descriptor_does_not_leak_into_other_programs(root: Path) -> None:
    put(root / "a")

    with SourceRoot(str(root)).open(planned(root, "a")) as file:
        assert not os.get_inheritable(file.fileno())


def test_a_symlink_exchanged_while_it_is_looked_up_is_a_problem_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source" / "real").mkdir(parents=True)
    (tmp_path / "source" / "real" / "a.txt").write_bytes(b"abc")
    link, real = tmp_path / "source" / "sub", os.readlink
    link.symlink_to("real")

    def exchanged(path: Any, **more: Any) -> Any:
        if link.is_symlink():
            link.unlink()
            link.mkdir()
        return real(path, **more)

    monkeypatch.setattr(os, "readlink", exchanged)
    with pytest.raises(FileMissing, match="exchanged while it was looked up"):
        SourceRoot(str(tmp_path / "source")).check(SourceFile("sub/a.txt", 3, 0))

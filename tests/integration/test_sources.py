"""Listing real folders: what is part of the set, in which order, and what can't stop it."""

from __future__ import annotations

import json
import os
import random
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from paceline.chunking import chunk
from paceline.errors import UsageError
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile
from producers.filters import Rules
from producers.planning import Cut, Resume, Tally, plan_entries
from producers.sources import Source, SourceKind, resolve_source, resolve_sources
from producers.trees import Tree
from producers.walking import path_key, walk
from tests.support.planned import killed_anywhere
from tests.support.trees import ODD_NAMES, as_another_user, put, put_deep, put_raw, put_socket, remove_deep

KOLENA = SizeLimits(files=300, file_bytes=250_000_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder to list."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def bottomless(root: Path) -> Iterator[Path]:
    """An empty folder that may become deeper than pytest can remove."""
    yield root
    remove_deep(root)


def paths(root: Path, after: str | None = None) -> list[str]:
    """List the paths of a source."""
    return [entry.path for entry in walk(str(root), after=after)]


def reasons(root: Path) -> dict[str, SkipReason]:
    """List the skipped files of a source."""
    return {entry.path: entry.reason for entry in walk(str(root)) if isinstance(entry, SkippedFile)}


def test_a_file_is_listed_with_its_size_and_time(root: Path) -> None:
    put(root / "sub" / "a.txt", b"hello")
    os.utime(root / "sub" / "a.txt", ns=(5, 1_700_000_000_123_456_789))

    assert list(walk(str(root))) == [SourceFile("sub/a.txt", 5, 1_700_000_000_123_456_789)]


def test_the_order_is_by_the_parts_of_the_path(root: Path) -> None:
    for path in ("b/z", "b/a/x", "a", "b-c", "b.d", "B", "é", "z/1/2", "z/10"):
        put(root / path)

    listed = paths(root)

    assert listed == ["B", "a", "b/a/x", "b/z", "b-c", "b.d", "z/1/2", "z/10", "é"]
    assert listed == sorted(listed, key=path_key)


def test_a_listing_taken_up_behind_any_path_gives_exactly_the_rest(root: Path) -> None:
    for name in ODD_NAMES:
        put_raw(root, name)
    for path in ("b/z", "b/a/x", "b/a/y", "b-c", "b.d", "z/1/2", "z/10", "z/1"):
        if not (root / path).exists():
            put(root / path)
    (root / "b" / "empty").touch()
    (root / "b" / "link").symlink_to("/etc")
    whole = list(walk(str(root)))

    for place, entry in enumerate(whole):
        assert list(walk(str(root), after=entry.path)) == whole[place + 1 :]


@pytest.mark.parametrize("after", ["b", "b/a/w", "b/a/x/deeper", "b/zz", "aa", "b/a", "~"])
def test_a_listing_can_be_taken_up_behind_what_is_no_longer_there(root: Path, after: str) -> None:
    for path in ("a", "b/a/x", "b/z", "c"):
        put(root / path)

    assert paths(root, after) == [path for path in paths(root) if path_key(path) > path_key(after)]


def test_every_name_survives(root: Path) -> None:
    expected = {put_raw(root, name) for name in ODD_NAMES}

    assert set(paths(root)) == expected


def test_what_is_no_usable_file_is_a_row_with_a_reason(root: Path) -> None:
    put(root / "good")
    (root / "empty").touch()
    os.mkfifo(root / "fifo")
    put_socket(root / "socket")

    assert reasons(root) == {
        "empty": SkipReason.EMPTY,
        "fifo": SkipReason.NOT_REGULAR,
        "socket": SkipReason.NOT_REGULAR,
    }
    assert len(paths(root)) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="making a device needs root")
def test_a_device_is_not_opened(root: Path) -> None:
    os.mknod(root / "null", 0o600 | 0o020000, os.makedev(1, 3))

    assert reasons(root) == {"null": SkipReason.NOT_REGULAR}


def test_a_symlink_to_a_file_beneath_the_source_is_that_file(root: Path) -> None:
    put(root / "sub" / "a.txt", b"hello")
    (root / "relative").symlink_to("sub/a.txt")
    (root / "absolute").symlink_to(root / "sub" / "a.txt")
    (root / "sub" / "upwards").symlink_to("../relative")

    found = {entry.path: entry.size_bytes for entry in walk(str(root)) if isinstance(entry, SourceFile)}

    assert found == {"relative": 5, "absolute": 5, "sub/upwards": 5, "sub/a.txt": 5}


def test_no_symlink_leads_out_in_circles_or_twice_to_a_file(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside" / "secret")
    put(tmp_path / "source-sibling" / "secret")
    put(root / "sub" / "a")
    (root / "out").symlink_to(tmp_path / "outside" / "secret")
    (root / "out-folder").symlink_to("../outside")
    (root / "out-sibling").symlink_to("../source-sibling/secret")
    (root / "dangling").symlink_to("nothing")
    (root / "loop").symlink_to("loop")
    (root / "sub" / "up").symlink_to("..")
    (root / "folder").symlink_to("sub")

    assert reasons(root) == {
        "out": SkipReason.ESCAPES_SOURCE,
        "out-folder": SkipReason.ESCAPES_SOURCE,
        "out-sibling": SkipReason.ESCAPES_SOURCE,
        "dangling": SkipReason.UNREADABLE,
        "loop": SkipReason.UNREADABLE,
        "sub/up": SkipReason.NOT_REGULAR,
        "folder": SkipReason.NOT_REGULAR,
    }
    assert [entry.path for entry in walk(str(root)) if isinstance(entry, SourceFile)] == ["sub/a"]


def test_hidden_files_are_not_part_of_the_set_unless_named(root: Path) -> None:
    put(root / ".git" / "config")
    put(root / "sub" / ".DS_Store")
    put(root / "sub" / "a")

    assert paths(root) == ["sub/a"]
    assert paths(root / ".git") == ["config"]
    assert paths(root / "sub" / ".DS_Store") == [".DS_Store"]


def test_excluded_folders_are_not_listed_however_they_are_named(root: Path, tmp_path: Path) -> None:
    put(root / "out" / "results.jsonl")
    put(root / "sub" / "out" / "kept")
    put(root / "outer")
    (tmp_path / "by-another-name").symlink_to(root / "out")

    exclude = [str(tmp_path / "by-another-name"), str(root / "not-there-yet"), str(tmp_path)]

    assert [entry.path for entry in walk(str(root), exclude=exclude)] == ["outer", "sub/out/kept"]


def test_the_source_cannot_be_its_own_output(root: Path) -> None:
    with pytest.raises(UsageError, match="another folder"):
        walk(str(root), exclude=[str(root)])


def test_what_may_not_be_read_is_a_row_and_the_rest_is_listed(root: Path, tmp_path: Path) -> None:
    for path in ("locked/a", "no-entry/a", "open/a", "open/locked"):
        put(root / path)
    (root / "open" / "link").symlink_to("locked")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    root.chmod(0o755)
    (root / "open").chmod(0o755)
    (root / "locked").chmod(0o000)
    (root / "no-entry").chmod(0o744)
    (root / "open" / "locked").chmod(0o000)

    printed = as_another_user(
        "import json\nfrom producers.walking import walk\n#become\n"
        "print(json.dumps([[entry.path, getattr(entry, 'reason', None)] for entry in walk(sys.argv[1])]))",
        str(root),
    )

    assert json.loads(printed) == [
        ["locked", "unreadable"],
        ["no-entry/a", "unreadable"],
        ["open/a", None],
        ["open/link", "unreadable"],
        ["open/locked", "unreadable"],
    ]


def test_a_locked_folder_that_is_on_record_is_no_row_again(root: Path, tmp_path: Path) -> None:
    for path in ("a", "locked/a", "z"):
        put(root / path)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    root.chmod(0o755)
    (root / "locked").chmod(0o000)

    printed = as_another_user(
        "from producers.walking import walk\n#become\n"
        "for after in (None, 'locked'): print([entry.path for entry in walk(sys.argv[1], after=after)])",
        str(root),
    )

    assert printed == "['a', 'locked', 'z']\n['z']\n"


def test_a_tree_deeper_than_descriptors_and_longer_than_a_path_is_listed(bottomless: Path) -> None:
    put(bottomless / "before")
    bottom = put_deep(bottomless, 1500, "deeper", "empty")
    put(bottomless / "z-after")
    put(bottomless / "deeper" / "deeper" / "z")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        listed = list(walk(str(bottomless)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert len(bottom) > 4096
    assert [entry.path for entry in listed] == ["before", bottom, "deeper/deeper/z", "z-after"]
    assert paths(bottomless, after=bottom) == ["deeper/deeper/z", "z-after"]


def test_a_listing_given_up_halfway_leaves_no_descriptor_open(root: Path) -> None:
    put(root / "a" / "b" / "c" / "d")
    before = len(os.listdir("/proc/self/fd"))

    listing = walk(str(root))
    next(iter(listing))
    assert len(os.listdir("/proc/self/fd")) > before
    del listing

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_disappears_during_the_listing_is_no_part_of_it(root: Path) -> None:
    for name in ("a", "b", "c/d"):
        put(root / name)

    listing = walk(str(root))
    first = next(listing)
    (root / "b").unlink()
    (root / "c" / "d").unlink()
    (root / "c").rmdir()

    assert [first.path, *[entry.path for entry in listing]] == ["a"]


def test_sparse_files_of_exactly_the_limit_and_one_byte_more(root: Path) -> None:
    for name, size in (("exact", 250_000_000), ("more", 250_000_001)):
        with open(root / name, "wb") as file:
            file.truncate(size)

    exact, more = sorted(chunk(walk(str(root)), KOLENA, 300), key=lambda entry: isinstance(entry, SkippedFile))

    assert isinstance(exact, PlannedSubmission)
    assert [file.path for file in exact.files] == ["exact"]
    assert isinstance(more, SkippedFile)
    assert (more.path, more.reason, more.size_bytes) == ("more", SkipReason.TOO_LARGE, 250_000_001)


def test_the_first_file_comes_before_the_folders_behind_it_are_opened(root: Path) -> None:
    put(root / "a")
    put(root / "later" / "b")

    first = next(iter(walk(str(root))))
    (root / "later" / "b").unlink()

    assert first.path == "a"


@pytest.mark.slow
def test_a_large_set_is_listed_in_the_memory_of_one_folder(root: Path) -> None:
    for folder in range(20):
        (root / f"{folder:02d}").mkdir()
        for number in range(1000):
            os.close(os.open(root / f"{folder:02d}" / f"{number:04d}", os.O_CREAT | os.O_WRONLY))

    tracemalloc.start()
    listed = sum(1 for _ in walk(str(root)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert listed == 20_000
    assert peak < 500_000


def test_a_single_file_is_a_source(root: Path) -> None:
    put(root / "a.txt", b"hello")
    (root / "link").symlink_to("a.txt")

    source = resolve_source(str(root / "link"))

    place = str(root.resolve() / "a.txt")
    assert source == Source(place, SourceKind.FILE, Tree(place))
    assert [(entry.path, entry.size_bytes) for entry in walk(source.location)] == [("a.txt", 5)]
    assert paths(root / "a.txt", after="a.txt") == []


def test_a_single_empty_file_is_a_row(root: Path) -> None:
    (root / "a.txt").touch()

    assert reasons(root / "a.txt") == {"a.txt": SkipReason.EMPTY}


def test_a_source_is_the_same_however_it_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "sub").mkdir()
    (root / "link").symlink_to("sub")
    monkeypatch.chdir(root)

    named = {resolve_source(text) for text in ("sub", "./sub/", "sub/../sub", "link", str(root / "sub"))}

    assert named == {Source(str(root.resolve() / "sub"), SourceKind.FOLDER, Tree(str(root.resolve() / "sub")))}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no source"),
        ("nowhere", r"'nowhere'.*spelling"),
        ("s3a://bucket/x", "write s3://"),
        ("rows.csv", "no column 'path'.*itself"),
        ("rows.jsonl", "line 1: no JSON"),
        ("fifo", "neither a folder nor a regular file"),
        ("loop", "loop"),
        ("nul\0", "no such source"),
    ],
)
def test_a_source_that_does_not_work_is_named_with_what_does(
    root: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    put(root / "rows.csv")
    put(root / "rows.jsonl")
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to("loop")
    monkeypatch.chdir(root)

    with pytest.raises(UsageError, match=says) as caught:
        resolve_sources([text], Rules(), root / ".paceline")

    assert "\n" not in str(caught.value)


def test_a_source_that_may_not_be_read_is_refused(root: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    root.chmod(0o000)

    printed = as_another_user(
        "from producers.sources import resolve_source\nfrom paceline.errors import UsageError\n#become\n"
        "try: resolve_source(sys.argv[1])\nexcept UsageError as error: print(error)",
        str(root),
    )

    assert "readable for this user" in printed


def test_planning_killed_anywhere_goes_on_to_the_same_manifest(root: Path, tmp_path: Path) -> None:
    dice = random.Random(7)
    for number in range(400):
        size = dice.choice((0, 5, 40, 60, 200))
        put(root / f"d{number % 13}" / f"{dice.choice('aA')}{number % 29}.txt", b"x" * size)
    limits = SizeLimits(files=7, file_bytes=100, submission_bytes=150)
    source = resolve_source(str(root))

    killed_anywhere(source, limits, tmp_path)


def test_a_tally_accounts_for_every_file(root: Path) -> None:
    for name, size in (("a", 5), ("b", 6), ("c", 0), ("d", 50), ("e", 7)):
        put(root / name, b"x" * size)
    tally = Tally()

    for entry in plan_entries(resolve_source(str(root)), Cut(SizeLimits(files=2, file_bytes=20), 300), resume=Resume()):
        tally.add(entry)

    assert (tally.submissions, tally.files, tally.size_bytes, tally.total) == (2, 3, 18, 5)
    assert tally.skipped == {SkipReason.EMPTY: 1, SkipReason.TOO_LARGE: 1}

"""Lists of paths: what is kept of them, what they are relative to, and what becomes of each path."""

from __future__ import annotations

import io
import json
import os
import random
import stat
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from paceline.errors import UsageError
from paceline.manifest import read_manifest
from paceline.model import SizeLimits, SkippedFile, SkipReason, SourceFile
from paceline.roots import URLS, open_root
from producers.filters import Rules
from producers.lists import Kept, ListedFiles, Named, keep_list
from producers.piped import read_paths
from producers.sources import Source, SourceKind, resolve_sources
from tests.support.planned import killed_anywhere
from tests.support.trees import ODD_NAMES, as_another_user, put, put_deep, put_raw, remove_deep


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, all symlinks resolved."""
    folder = tmp_path.resolve() / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def kept(content: bytes, home: Path) -> Kept:
    """Keep what comes on stdin."""
    return keep_list(read_paths(io.BytesIO(content)), "stdin", str(Path.cwd()), home)


def piped(content: bytes, monkeypatch: pytest.MonkeyPatch, rules: Rules | None = None) -> Source:
    """Resolve `-` with this on stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    return resolve_sources(["-"], rules or Rules(), Path.cwd() / ".paceline")


def paths(source: Source, exclude: Iterable[str] = ()) -> list[str]:
    """List the paths of a source."""
    return [entry.path for entry in source.listing.entries(exclude=list(exclude))]


def reasons(source: Source) -> dict[str, SkipReason | None]:
    """List the paths of a source with why they are left out."""
    found = source.listing.entries()
    return {entry.path: entry.reason if isinstance(entry, SkippedFile) else None for entry in found}


def test_a_piped_list_keeps_its_order_and_names_each_file_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a", "sub/c"):
        put(here / name)

    source = piped(f"sub/c\nb\n./sub//c\na\n{here}/b\nsub/../a\n".encode(), monkeypatch)

    assert (source.location, source.kind, source.listing.ordered) == (str(here), SourceKind.LIST, False)
    assert paths(source) == ["sub/c", "b", "a"]


def test_what_is_kept_is_private_and_named_by_its_digest(here: Path) -> None:
    found = kept(b"a\nb\n", here / "home")

    assert Path(found.file) == here / "home" / "lists" / found.digest
    assert Path(found.file).read_text() == '{"path":"a"}\n{"path":"b"}\n'
    assert stat.S_IMODE(Path(found.file).stat().st_mode) == 0o600
    assert os.listdir(here / "home" / "lists") == [found.digest]


def test_the_same_list_in_other_words_is_the_same_set(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sub").mkdir()
    first = piped(b"a\nsub/b\n", monkeypatch)

    assert piped(b"a\0./sub/b\0", monkeypatch) == first
    assert piped(f"{here}/a\nsub/b\r\na\n".encode(), monkeypatch) == first
    assert piped(b"sub/b\na\n", monkeypatch) != first
    assert piped(b"a\nsub/b\nc\n", monkeypatch) != first
    monkeypatch.chdir(here / "sub")
    assert piped(b"a\nsub/b\n", monkeypatch) != first


@pytest.mark.parametrize(
    ("lines", "location", "expected"),
    [
        (["a"], "", ["a"]),
        (["sub/a"], "", ["sub/a"]),
        (["sub/a", "sub/b"], "", ["sub/a", "sub/b"]),
        (["{}/sub/a", "{}/sub/b"], "/sub", ["a", "b"]),
        (["{}/sub/a", "sub/b"], "", ["sub/a", "sub/b"]),
        (["{}/sub/a"], "/sub", ["a"]),
        (["{}/sub", "{}/sub/a"], "/sub", [".", "a"]),
        ([".", "./sub", "./sub/a"], "", [".", "sub", "sub/a"]),
        (["a", "../other/b"], "/..", ["here/a", "other/b"]),
        (["sub/link/../a"], "/..", ["other/a"]),
    ],
)
def test_what_paths_are_relative_to(here: Path, lines: list[str], location: str, expected: list[str]) -> None:
    (here / "sub").mkdir()
    (here.parent / "other" / "deep").mkdir(parents=True)
    (here / "sub" / "link").symlink_to(here.parent / "other" / "deep")

    found = kept("\n".join(lines).format(here, here).encode(), here / "home")

    whole = [
        str(Path(found.location, row["path"])) for row in map(json.loads, Path(found.file).read_text().splitlines())
    ]
    if location == "/..":
        assert whole == [str(here.parent / path) for path in expected]
    else:
        assert found.location == f"{here}{location}"
        assert whole == [str(Path(f"{here}{location}", path)) for path in expected]


def test_paths_of_different_disks_are_relative_to_the_root(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here / "a", b"hello")

    source = piped(f"{here}/a\n/proc/self/status\n".encode(), monkeypatch)

    assert source.location == "/"
    file = next(iter(source.listing.entries()))
    assert isinstance(file, SourceFile)
    assert file.path == f"{here}/a"[1:]
    with open_root(source.location).open(file) as stream:
        assert stream.read() == b"hello"


def test_every_path_becomes_a_file_or_a_row_with_a_reason(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here / "good")
    put(here / ".hidden")
    put(here / "sub" / "inner")
    put(here.parent / "outside" / "secret")
    (here / "empty").touch()
    os.mkfifo(here / "fifo")
    (here / "inwards").symlink_to("good")
    (here / "out").symlink_to("../outside/secret")
    (here / "dangling").symlink_to("nothing")
    (here / "sub-link").symlink_to("sub")
    (here / "out-link").symlink_to("../outside")
    expected = {
        "good": None,
        ".hidden": None,
        "inwards": None,
        "sub-link/inner": None,
        "empty": SkipReason.EMPTY,
        "fifo": SkipReason.NOT_REGULAR,
        "sub": SkipReason.NOT_REGULAR,
        "out": SkipReason.ESCAPES_SOURCE,
        "out-link/secret": SkipReason.ESCAPES_SOURCE,
        "dangling": SkipReason.UNREADABLE,
        "nowhere": SkipReason.MISSING,
        "good/below": SkipReason.MISSING,
        "no/where": SkipReason.MISSING,
        "sub-link/nowhere": SkipReason.MISSING,
    }

    source = piped("\n".join(expected).encode(), monkeypatch)

    assert reasons(source) == expected
    root = open_root(source.location)
    for entry in source.listing.entries():
        if isinstance(entry, SourceFile):
            root.check(entry)


def test_every_name_survives_between_nuls(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [put_raw(here, name) for name in ODD_NAMES]

    source = piped(b"".join(os.fsencode(name) + b"\0" for name in expected), monkeypatch)

    assert reasons(source) == dict.fromkeys(expected)


def test_a_path_longer_than_the_kernel_takes_is_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bottom = put_deep(here, 700, "deeper", "file")
    try:
        assert reasons(piped(bottom.encode(), monkeypatch)) == {bottom: SkipReason.EMPTY}
        assert len(bottom) > 4096
    finally:
        monkeypatch.undo()
        remove_deep(here)


def test_what_may_not_be_read_is_a_row(here: Path, tmp_path: Path) -> None:
    put(here / "locked").chmod(0)
    put(here / "closed" / "a")
    (here / "closed").chmod(0)
    for folder in (here, tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    found = kept(b"locked\nclosed/a", tmp_path / "home")
    for place in (tmp_path / "home", tmp_path / "home" / "lists", Path(found.file)):
        place.chmod(0o755)

    printed = as_another_user(
        "from producers.lists import ListedFiles\n#become\n"
        "print([entry.reason.value for entry in ListedFiles(sys.argv[1], sys.argv[2]).entries()])",
        found.location,
        found.file,
    )
    (here / "closed").chmod(0o755)

    assert printed == "['unreadable', 'unreadable']\n"


def test_what_patterns_leave_out_is_no_part_of_a_list_and_outputs_are_rows_of_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        "a.PDF",
        "b.txt",
        "out/results.pdf",
        "outer.pdf",
        "x/node_modules/c.pdf",
        "done.csv",
        "done.csv.parts/p.pdf",
    ]
    for name in names:
        put(here / name)
    rules = Rules(include=("*.pdf", "*.csv"), exclude=("node_modules",))
    exclude = [str(here / "out"), str(here / "done.csv"), str(here / "done.csv.parts"), "s3://bucket/x"]

    source = piped("\n".join(names).encode(), monkeypatch, rules)

    entries = list(source.listing.entries(exclude=exclude))
    assert [entry.path for entry in entries if isinstance(entry, SourceFile)] == ["a.PDF", "outer.pdf"]
    assert {entry.path: entry.reason for entry in entries if isinstance(entry, SkippedFile)} == dict.fromkeys(
        ["out/results.pdf", "done.csv", "done.csv.parts/p.pdf"], SkipReason.IN_OUTPUT
    )


def test_addresses_stand_alone_in_a_list(here: Path) -> None:
    found = kept(b"s3://b/x\nhttps://h/y?z=//../a\ns3://b/x\n", here / "home")

    assert found.location == URLS
    assert Path(found.file).read_text() == '{"path":"s3://b/x"}\n{"path":"https://h/y?z=//../a"}\n'
    for mixed in (b"s3://b/x\na\n", b"a\ns3://b/x\n"):
        with pytest.raises(UsageError, match="stdin, line 2: addresses and paths"):
            kept(mixed, here / "home")
    with pytest.raises(UsageError, match="s3://b"):
        list(ListedFiles(found.location, found.file).entries())


def test_nobody_waits_for_a_list_from_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stdin, says in ((Terminal(), "terminal.*find docs"), (None, "closed.*find docs")):
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(UsageError, match=says):
            resolve_sources(["-"], Rules(), tmp_path)


def table(here: Path, *rows: str) -> Source:
    """Resolve a CSV with these lines."""
    put(here / "list.csv", "\n".join(rows).encode())
    return resolve_sources(["list.csv"], Rules(), here / ".paceline")


def test_a_table_says_more_of_its_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here / "sub" / "a")
    source = table(here, "path,group,priority,metadata.x", "sub/a,g,3,ACME", "nope,g,,", f"{here}/sub/a,g,3,ACME")
    monkeypatch.chdir(here / "sub")

    first, second = source.listing.entries()

    assert source.groups
    assert source.location == str(here)
    assert isinstance(first, SourceFile)
    assert (first.path, first.group, first.priority, first.metadata) == ("sub/a", "g", 3, (("x", "ACME"),))
    assert second == SkippedFile("nope", SkipReason.MISSING, group="g", metadata=(("x", ""),))


def test_a_table_without_groups_says_so(here: Path) -> None:
    assert not table(here, "path,group", "a,").groups


def test_another_table_is_another_set(here: Path) -> None:
    sources = [
        table(here, "path,group", "a,g"),
        table(here, "path,group", "a,h"),
        table(here, "path,priority", "a,1"),
        table(here, "path,metadata.x", "a,1"),
        table(here, "path", "a"),
    ]

    assert len({source.options for source in sources}) == len(sources)


def test_a_path_with_two_groups_is_refused_with_both_lines(here: Path) -> None:
    with pytest.raises(UsageError, match=r"list\.csv: lines 2 and 4 name 'a' with different groups"):
        table(here, "path,group", "a,g", "b,g", "./a,h", "a,g")


def test_the_order_of_metadata_is_no_contradiction(here: Path) -> None:
    rows = [Named("a", 1, metadata=(("x", 1), ("y", 2))), Named("a", 2, metadata=(("y", 2), ("x", 1)))]

    assert Path(keep_list(rows, "x", str(here), here / "home").file).read_text().count("\n") == 1


def test_true_is_not_one(here: Path) -> None:
    rows = [Named("a", 1, metadata=(("x", 1),)), Named("a", 2, metadata=(("x", True),))]

    with pytest.raises(UsageError, match="lines 1 and 2"):
        keep_list(rows, "x", str(here), here / "home")


def test_planning_a_list_killed_anywhere_goes_on_to_the_same_manifest(here: Path, tmp_path: Path) -> None:
    dice = random.Random(5)
    names = [f"d{number % 7}/{dice.choice('aA')}{number}.txt" for number in range(120)]
    for name in names[:-5]:
        put(here / name, b"x" * dice.choice((0, 5, 40, 60, 200)))
    dice.shuffle(names)
    rows = [f"{name},{dice.choice((0, 0, 5))},{at}" for at, name in enumerate(names)]
    source = table(here, "path,priority,metadata.row", *rows)
    limits = SizeLimits(files=7, file_bytes=100, submission_bytes=150)

    manifest = killed_anywhere(source, limits, tmp_path, steps=5)

    listed = [row.path for row in read_manifest(str(manifest))]
    assert sorted(listed) == sorted(names)


def test_a_list_of_many_is_read_in_little_memory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.lists._AT_A_TIME", 100)

    def many() -> Iterable[Named]:
        return (Named(f"folder-{number % 7}/document-{number}.pdf", number) for number in range(10_000))

    tracemalloc.start()
    found = keep_list(many(), "stdin", str(here), here / "home")
    listed = sum(1 for _ in ListedFiles(found.location, found.file).entries())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert listed == 10_000
    assert peak < 500_000  # the paths alone are more

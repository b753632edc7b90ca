"""Globs, filters and several sources at once, in real folders: what is listed, in which order, as which set."""

from __future__ import annotations

import itertools
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import UsageError
from paceline.model import SizeLimits, SkippedFile, SkipReason, SourceFile
from paceline.roots import open_root
from producers.filters import Rules
from producers.sources import Source, SourceKind, resolve_sources
from producers.walking import path_key, walk
from tests.support.planned import killed_anywhere
from tests.support.trees import put

TREE = [
    "a.pdf",
    "B.PDF",
    "docs/2024/jan/x.pdf",
    "docs/2024/y.txt",
    "docs/2025/z.Pdf",
    "docs/2025/node_modules/deep/m.pdf",
    "docs/cafe\u0301.pdf",
    "docs/.hidden.pdf",
    "docs/.git/config.pdf",
    "docs-old/w.pdf",
    "odd [1]/v.pdf",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with files."""
    folder = tmp_path.resolve() / "here"
    for path in TREE:
        put(folder / path, path.encode())
    monkeypatch.chdir(folder)
    return folder


def resolved(*texts: str, rules: Rules | None = None, apart: tuple[str, ...] = ()) -> Source:
    """Resolve SOURCE arguments."""
    return resolve_sources(texts, rules or Rules(), Path(".paceline"), apart)


def paths(source: Source, after: str | None = None, exclude: tuple[str, ...] = ()) -> list[str]:
    """List the paths of a source."""
    return [entry.path for entry in source.listing.entries(after=after, exclude=exclude)]


@pytest.mark.parametrize(
    ("glob", "location", "expected"),
    [
        ("*.pdf", "", ["B.PDF", "a.pdf"]),
        ("docs/**/*.pdf", "/docs", ["2024/jan/x.pdf", "2025/node_modules/deep/m.pdf", "2025/z.Pdf", "cafe\u0301.pdf"]),
        ("./docs/202?/*", "/docs", ["2024/y.txt", "2025/z.Pdf"]),
        ("docs/[!2]*/**", "/docs", []),
        ("docs/2*/", "/docs", ["2024/jan/x.pdf", "2024/y.txt", "2025/node_modules/deep/m.pdf", "2025/z.Pdf"]),
        ("docs/caf\u00e9*", "/docs", ["cafe\u0301.pdf"]),
        ("docs/../docs-old/*", "/docs-old", ["w.pdf"]),
        ("**/*.txt", "", ["docs/2024/y.txt"]),
        (r"odd \[1\]/*", "/odd [1]", ["v.pdf"]),
    ],
)
def test_a_glob_is_its_folder_and_a_pattern(here: Path, glob: str, location: str, expected: list[str]) -> None:
    source = resolved(glob)

    assert (source.location, source.kind) == (f"{here}{location}", SourceKind.GLOB)
    assert paths(source) == expected
    assert source.options[0][0] == "source:glob"


def test_something_of_exactly_this_name_is_no_glob(here: Path) -> None:
    assert resolved("odd [1]").kind is SourceKind.FOLDER
    assert paths(resolved("odd [1]")) == ["v.pdf"]
    assert paths(resolved("odd [2]")) == []


def test_a_glob_that_matches_nothing_says_so(here: Path) -> None:
    assert "no file matches 'docs/*.doc'" in resolved("docs/*.doc").nothing
    assert "** doesn't" in resolved("docs/*.doc").nothing
    with pytest.raises(UsageError, match="no such source: 'nowhere'"):
        resolved("nowhere/*.pdf")


def test_a_glob_passes_by_folders_in_which_nothing_can_match(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    really = os.open

    def noted(name: str, *rest: Any, **more: Any) -> int:
        entered.append(name)
        return really(name, *rest, **more)

    monkeypatch.setattr(os, "open", noted)

    list(resolved("docs/2024/*/*.pdf").listing.entries())
    list(resolved("docs", rules=Rules(include=("2024/**",), exclude=("jan",))).listing.entries())

    assert not {"2025", "node_modules"} & set(entered)
    assert entered.count("jan") == 1


def test_filters_choose_among_a_folders_files(here: Path) -> None:
    def chosen(*include: str, exclude: tuple[str, ...] = (), hidden: bool = False, case: bool = False) -> list[str]:
        return paths(resolved("docs", rules=Rules(include, exclude, case, hidden)))

    assert chosen("*.pdf", exclude=("node_modules", "2024/**")) == ["2025/z.Pdf", "cafe\u0301.pdf"]
    assert chosen("*.pdf", case=True, exclude=("2025",)) == ["2024/jan/x.pdf", "cafe\u0301.pdf"]
    assert chosen("*.txt", "z.*") == ["2024/y.txt", "2025/z.Pdf"]
    assert chosen("*.pdf", exclude=("20*",), hidden=True) == [".git/config.pdf", ".hidden.pdf", "cafe\u0301.pdf"]
    assert chosen(exclude=(".git", "20*"), hidden=True) == [".hidden.pdf", "cafe\u0301.pdf"]
    assert chosen("*.doc") == []


def test_other_rules_are_another_set(here: Path) -> None:
    rules = [
        Rules(),
        Rules(include=("*",)),
        Rules(exclude=("*.x",)),
        Rules(hidden=True),
        Rules(include=("*",), case_sensitive=True),
    ]
    sets = [resolved("docs", rules=one).options for one in rules] + [resolved("docs/*").options]

    assert len(set(sets)) == len(sets)


def test_outputs_that_are_files_are_not_part_of_a_set(here: Path) -> None:
    for name in ("x.csv", "x.csv.parts/p", "x.db", "x.db-wal", "sub/x.csv", "x.csv2"):
        put(here / "out" / name)
    written = tuple(str(here / "out" / name) for name in ("x.csv", "x.csv.parts", "x.db", "x.db-wal", "not-there"))

    assert paths(resolved("out"), exclude=(*written, "s3://bucket/x")) == ["sub/x.csv", "x.csv2"]
    assert paths(resolved("out", "docs"), exclude=(*written, str(here / "docs"))) == ["out/sub/x.csv", "out/x.csv2"]
    assert paths(resolved("out/x*", "docs/2024/*"), exclude=written) == ["docs/2024/y.txt", "out/x.csv2"]


def test_several_sources_are_one_set_beneath_their_deepest_common_folder(here: Path) -> None:
    source = resolved("docs/2025", "docs/cafe\u0301.pdf", "docs/2024/jan", "docs/.hidden.pdf")

    assert (source.location, source.kind) == (f"{here}/docs", SourceKind.SEVERAL)
    assert paths(source) == [
        ".hidden.pdf",
        "2024/jan/x.pdf",
        "2025/node_modules/deep/m.pdf",
        "2025/z.Pdf",
        "cafe\u0301.pdf",
    ]
    root = open_root(source.location)
    for entry in source.listing.entries():
        assert isinstance(entry, SourceFile)
        root.check(entry)


def test_sources_named_twice_or_within_each_other_count_once(here: Path) -> None:
    (here / "link").symlink_to("docs")
    twice = resolved("docs", "docs/2024", "a.pdf", "./a.pdf", "link/2025/z.Pdf", str(here / "docs"))

    assert twice == resolved("docs", "a.pdf")
    assert resolved("docs", "docs/2024/", "link") == resolved("docs")
    assert resolved("a.pdf", "./a.pdf") == resolved("a.pdf")
    assert resolved("docs/*", "./docs/*") == resolved("docs/*")
    assert resolved("docs", "docs/*.pdf") == resolved("docs")


def test_the_order_of_sources_makes_no_other_set(here: Path) -> None:
    names = ("docs/2024", "a.pdf", "docs-old", "docs/**/z*")

    assert len({resolved(*order) for order in itertools.permutations(names)}) == 1
    assert resolved(*names) != resolved(*names[:3])
    assert resolved(*names) != resolved(*names[:3], "docs/**/y*")


def test_globs_that_overlap_name_each_file_once(here: Path) -> None:
    source = resolved("docs/**/*.pdf", "docs/2025/*", "**/m.*", "docs/2024", "docs/2025/z.Pdf")

    expected = {
        "docs/2024/jan/x.pdf",
        "docs/2024/y.txt",
        "docs/2025/z.Pdf",
        "docs/2025/node_modules/deep/m.pdf",
        "docs/cafe\u0301.pdf",
    }
    assert source.location == str(here)
    assert paths(source) == sorted(expected, key=path_key)


def test_patterns_are_compared_with_paths_as_they_are_listed(here: Path) -> None:
    rules = Rules(include=("docs/2024/**", "a.*"), exclude=("jan",))

    assert paths(resolved("docs", "a.pdf", rules=rules)) == ["a.pdf", "docs/2024/y.txt"]
    assert paths(resolved("docs/2024/jan", "docs/2024/jan/x.pdf", "docs/2024/y.txt", rules=rules)) == []
    assert paths(resolved("docs/2024/jan", "docs/2025/z.Pdf", "a.pdf", rules=rules)) == ["a.pdf"]


def test_no_symlink_leads_out_of_the_source_it_was_found_in(here: Path) -> None:
    (here / "docs-old" / "across").symlink_to("../docs/2024/y.txt")
    (here / "docs-old" / "within").symlink_to("w.pdf")
    source = resolved("docs", "docs-old")

    found = {entry.path: entry for entry in source.listing.entries() if entry.path.startswith("docs-old")}

    assert found["docs-old/across"] == SkippedFile("docs-old/across", SkipReason.ESCAPES_SOURCE)
    assert isinstance(found["docs-old/within"], SourceFile)


def test_sources_on_different_disks_work(here: Path) -> None:
    source = resolved("a.pdf", "/proc/version")

    assert source.location == "/"
    assert paths(source) == sorted([f"{here}/a.pdf"[1:], "proc/version"], key=path_key)


def test_outputs_named_by_a_star_are_no_sources(here: Path) -> None:
    before = resolved("a.pdf", "docs", "docs-old")
    put(here / "results" / "results.jsonl")
    put(here / "x.csv")
    apart = (str(here / "results"), str(here / "x.csv"))

    assert resolved("a.pdf", "docs", "docs-old", "results", "x.csv", apart=apart) == before
    with pytest.raises(UsageError, match="lie in the output"):
        resolved("results", "x.csv", apart=apart)


@pytest.mark.parametrize("named", ["docs/2024", "docs/2024/y.txt", "docs/*.pdf", "docs/2024/**/*.pdf"])
def test_a_source_that_lies_in_the_output_is_refused_and_not_left_out(here: Path, named: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{named!r} lies in the output")):
        resolved(named, "a.pdf", apart=(str(here / "docs"),))


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (("docs", "nowhere"), "no such source: 'nowhere'"),
        (("docs", ""), "no source given"),
        (("docs", "-"), "'-' stands alone"),
        (("docs", "s3://bucket/x"), "addresses and paths don't go together"),
        (("x.csv", "y.jsonl"), "are lists: run each alone"),
        (("docs", "fifo"), "neither a folder nor a regular file"),
        (("docs", "docs/{a,b}*"), "braces"),
    ],
)
def test_sources_that_dont_go_together_are_refused(here: Path, texts: tuple[str, ...], says: str) -> None:
    os.mkfifo(here / "fifo")

    with pytest.raises(UsageError, match=says):
        resolved(*texts)


def test_a_list_among_documents_is_a_document(here: Path) -> None:
    put(here / "docs" / "x.csv")

    assert "docs/x.csv" in paths(resolved("docs/x.csv", "a.pdf"))
    assert paths(resolved("docs/*.csv")) == ["x.csv"]
    assert paths(resolved("docs", rules=Rules(include=("x.csv",)))) == ["x.csv"]


def test_what_is_gone_since_it_was_named_is_a_row(here: Path) -> None:
    source = resolved("a.pdf", "docs-old", "docs/2024")
    (here / "a.pdf").unlink()
    (here / "docs-old" / "w.pdf").unlink()
    (here / "docs-old").rmdir()

    found = list(source.listing.entries())

    gone = [SkippedFile(path, SkipReason.MISSING) for path in ("a.pdf", "docs-old")]
    assert [entry for entry in found if isinstance(entry, SkippedFile)] == gone
    assert list(source.listing.entries(after="docs-old")) == []


def sources(here: Path) -> Iterator[Source]:
    """Make one of each form, with symlinks and odd files among them."""
    (here / "docs" / "empty").touch()
    (here / "docs" / "2024" / "out").symlink_to("/etc")
    yield resolved("docs/**/*[pty]")
    yield resolved("docs", "a.pdf", "docs-old/w.pdf", "odd [1]")
    yield resolved("docs/2*/**", "docs/20*/*", "a.pdf", "odd [1]", "**/*.txt")
    yield resolved("docs", "a.pdf", "B.PDF", rules=Rules(("*.pdf", "out"), ("node_modules",), hidden=True))


def test_every_listing_taken_up_behind_any_path_gives_exactly_the_rest(here: Path) -> None:
    for source in sources(here):
        whole = list(source.listing.entries())
        assert len(whole) > 2
        assert [entry.path for entry in whole] == sorted((entry.path for entry in whole), key=path_key)
        for place, entry in enumerate(whole):
            assert list(source.listing.entries(after=entry.path)) == whole[place + 1 :]
        gone = ["", "a", "docs", "docs/2024/k", "docs/2025/node_modules", "docs/zz", "docs-", "docs-old/w.pdf/x", "~"]
        for after in gone:
            rest = [entry for entry in whole if path_key(entry.path) > path_key(after)]
            assert list(source.listing.entries(after=after)) == rest


def test_a_filter_lists_what_a_plain_walk_does_of_those_that_match(here: Path) -> None:
    rules = Rules(("*.pdf",), ("jan",))
    wanted = rules.filter()
    assert wanted is not None

    plain = [entry for entry in walk(str(here)) if wanted.takes_named(entry.path)]

    assert list(resolved(".", rules=rules).listing.entries()) == plain


def test_planning_several_sources_killed_anywhere_goes_on_to_the_same_manifest(tmp_path: Path) -> None:
    dice = random.Random(11)
    for number in range(150):
        size = dice.choice((0, 5, 40, 60, 200))
        put(tmp_path / "source" / f"d{number % 9}" / f"{dice.choice('aA')}{number % 29}.txt", b"x" * size)
    parts = [str(tmp_path / "source" / f"d{number}") for number in (3, 1, 7)]
    limits = SizeLimits(files=4, file_bytes=100, submission_bytes=150)

    (tmp_path / "several").mkdir()
    (tmp_path / "glob").mkdir()
    killed_anywhere(resolved(*parts, str(tmp_path / "source" / "d5" / "*")), limits, tmp_path / "several")
    killed_anywhere(resolved(str(tmp_path / "source" / "**" / "a*.TXT")), limits, tmp_path / "glob")

"""Groups: what makes one, and that one is sent as a whole or not at all."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.errors import UsageError
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile
from producers.grouping import ALONE, Grouping, cut_groups, parse_grouping
from producers.planning import Cut, plan_entries
from producers.staging import Group
from tests.support.grouped import Entry, check_limits, handed, paths, reasons, runs, submissions

ROOMY = SizeLimits(300, 1000)
SENT, BLAMED = (SkipReason.EMPTY, SkipReason.NOT_REGULAR), (SkipReason.UNREADABLE, SkipReason.MISSING)


def file(path: str, size: int = 1, **more: object) -> SourceFile:
    return SourceFile(path, size, 1, **more)  # type: ignore[arg-type] # what a test says of it


def plan(
    rows: list[Entry], by: str, limits: SizeLimits = ROOMY, per_run: int = 300, *, cut: bool = False, pack: bool = False
) -> list[PlannedSubmission | SkippedFile]:
    return list(plan_entries(handed(rows), Cut(limits, per_run, grouping=Grouping(by, cut, pack))))


@pytest.mark.parametrize(
    ("by", "entry", "key"),
    [
        ("directory", file("a/b/c"), "a/b"),
        ("directory", file("top"), "."),
        ("directory", file("https://host/x/y"), "https://host/x"),
        ("regex:case-([0-9]+)", file("a/case-17/x"), "17"),
        ("regex:case-[0-9]+", file("a/case-17/x"), "case-17"),
        ("regex:(b)?c", file("a/c"), "c"),
        ("regex:case", file("a/Case"), None),
        ("regex:x*", file("a"), None),
        ("column:case", file("a", metadata=(("case", "A"),), group="other"), "A"),
        ("column:case", file("a", metadata=(("case", 0),)), "0"),
        ("column:case", file("a", metadata=(("case", True),)), "true"),
        ("column:case", file("a", metadata=(("case", ""),), group="other"), None),
        ("column:case", file("a", metadata=(("case", None),)), None),
        ("column:group", file("a", group="g"), "g"),
        ("list", file("a", group="g"), "g"),
        ("list", file("a"), ALONE + "a"),
        ("list", SkippedFile("a", SkipReason.MISSING, group="g"), "g"),
    ],
)
def test_what_makes_a_group(by: str, entry: Entry, key: str | None) -> None:
    assert Grouping(by).group_of(entry) == key


@pytest.mark.parametrize("text", ["folder", "column:", "regex:(", "regex:", "list", ""])
def test_another_rule_is_refused_with_those_that_exist(text: str) -> None:
    with pytest.raises(UsageError, match=r"--group-by"):
        parse_grouping(text, cut=False, pack=False)


def test_options_about_groups_want_groups() -> None:
    with pytest.raises(UsageError, match="add --group-by"):
        parse_grouping(None, cut=True, pack=False)
    assert parse_grouping(None, cut=True, pack=False, listed=True) == Grouping("list", cut=True)


def test_a_column_that_no_row_has_is_refused_with_those_there_are() -> None:
    rows: list[Entry] = [file("a", metadata=(("case", 1), ("page", 2))), file("b", group="g")]

    for look in (lambda by: plan(rows, by), lambda by: Grouping(by).check(rows)):
        with pytest.raises(UsageError, match=r"no column 'cases'; there are case, group, page"):
            look("column:cases")
        look("column:page")
    with pytest.raises(UsageError, match="name a list"):
        plan([file("a")], "column:cases")


def test_each_group_is_a_run_in_the_order_of_its_first_file() -> None:
    found = plan([file("a/1"), file("a/b/1"), file("a/2"), file("top")], "directory")

    assert runs(found) == [["a/1", "a/2"], ["a/b/1"], ["top"]]
    assert [one.files[0].group for one in submissions(found)] == ["a", "a/b", "."]


def test_a_lists_groups_hold_and_a_blank_one_stands_alone() -> None:
    found = plan([file("1", group="g"), file("2"), file("3", group="g"), file("4")], "list")

    assert runs(found) == [["1", "3"], ["2"], ["4"]]
    assert [one.files[0].group for one in submissions(found)] == ["g", "", ""]


def test_a_column_of_blanks_is_blank() -> None:
    found = plan([file("1", metadata=(("case", "A"),)), file("2", metadata=(("case", "  "),))], "column:case")

    assert (runs(found), reasons(found)) == ([["1"]], {"2": "no_group"})


def test_the_urgent_come_first_and_bring_their_group() -> None:
    found = plan([file("1", group="g"), file("2", priority=-1), file("3"), file("4", group="g", priority=5)], "list")

    assert runs(found) == [["1", "4"], ["3"], ["2"]]


def test_files_without_a_group_are_rows() -> None:
    found = plan([file("case-1/a"), file("other/b"), SkippedFile("c", SkipReason.EMPTY)], "regex:case-[0-9]")

    assert runs(found) == [["case-1/a"]]
    assert reasons(found) == {"other/b": "no_group", "c": "empty"}


@pytest.mark.parametrize("reason", [*BLAMED, SkipReason.ESCAPES_SOURCE])
def test_a_group_that_lacks_a_file_is_not_sent(reason: SkipReason) -> None:
    found = plan([file("a/1"), SkippedFile("a/2", reason), file("b/1"), file("a/3")], "directory")

    assert runs(found) == [["b/1"]]
    assert reasons(found) == {"a/1": "group_incomplete", "a/2": reason.value, "a/3": "group_incomplete"}
    assert {one.group for one in found if isinstance(one, SkippedFile)} == {"a"}


@pytest.mark.parametrize("cut", [False, True])
def test_a_group_with_a_file_too_large_is_incomplete_even_where_groups_are_cut(cut: bool) -> None:
    found = plan([file("a/1"), file("a/2", 2000), file("a/3")], "directory", per_run=1, cut=cut)

    assert not runs(found)
    wanted = "group_incomplete" if cut else "group_too_large"  # three files are too many for one run anyway
    assert reasons(found) == {"a/1": wanted, "a/2": "too_large" if cut else wanted, "a/3": wanted}


@pytest.mark.parametrize("reason", SENT)
def test_what_is_no_file_to_send_is_left_out_of_its_group(reason: SkipReason) -> None:
    found = plan([file("a/1"), SkippedFile("a/2", reason), file("a/3")], "directory")

    assert runs(found) == [["a/1", "a/3"]]
    assert reasons(found) == {"a/2": reason.value}


@pytest.mark.parametrize(
    ("limits", "per_run"),
    [(SizeLimits(2, 10), 300), (ROOMY, 2), (SizeLimits(300, 10, 20), 300)],
    ids=["files of the account", "files per run", "bytes"],
)
def test_a_group_too_large_for_one_run_is_left_out_or_cut(limits: SizeLimits, per_run: int) -> None:
    rows: list[Entry] = [file(f"a/{n}", 10) for n in range(5)]

    left = plan([*rows, file("b/1")], "directory", limits, per_run)
    cut = plan([*rows, file("b/1")], "directory", limits, per_run, cut=True)

    assert runs(left) == [["b/1"]]
    assert set(reasons(left).values()) == {"group_too_large"}
    assert runs(cut) == [["a/0", "a/1"], ["a/2", "a/3"], ["a/4"], ["b/1"]]
    assert [one.files[0].group for one in submissions(cut)] == ["a", "a", "a", "b"]


def test_names_that_clash_beyond_repair_make_a_group_too_large() -> None:
    deep = "x" * 200
    rows: list[Entry] = [file(f"{deep}/{n}{deep}/same") for n in "12"]

    assert set(reasons(plan(rows, "regex:same")).values()) == {"group_too_large"}
    assert len(runs(plan(rows, "regex:same", cut=True))) == 2


def test_groups_share_a_run_only_when_asked_and_related_ones_first() -> None:
    rows: list[Entry] = [file(f"{folder}/{n}") for folder in ("a/1", "a/2", "b/1", "b/2") for n in range(2)]

    assert len(runs(plan(rows, "directory", per_run=4))) == 4
    packed = plan(rows, "directory", per_run=4, pack=True)
    assert [{path[0] for path in run} for run in runs(packed)] == [{"a"}, {"b"}]


def test_a_path_that_comes_again_is_counted_once() -> None:
    found = plan([file("a", group="1"), file("b", group="2"), file("a", group="2")], "list")

    assert runs(found) == [["a"], ["b"]]


def test_odd_names_survive() -> None:
    odd = [os.fsdecode(b"\xff\xfe/caf\xe9"), 'q"\n/x', "\u00e9/y"]
    rows: list[Entry] = [file(path, metadata=(("n", path),), group="\ud800") for path in odd]

    assert sorted(path for run in runs(plan(rows, "directory")) for path in run) == sorted(odd)
    assert [one.files[0].group for one in submissions(plan(rows, "list"))] == ["\ud800"]


entries = st.lists(
    st.tuples(
        st.sampled_from(["a", "a/b", "b", "c"]),
        st.sampled_from(["f", "F", "g%", "h", "%2F"]),
        st.integers(1, 40),
        st.sampled_from([None, None, None, None, *SENT, *BLAMED]),
        st.integers(-1, 1),
    ),
    max_size=40,
    unique_by=lambda row: row[:2],
).map(
    lambda rows: [
        SkippedFile(f"{folder}/{name}", reason, size) if reason else file(f"{folder}/{name}", size, priority=priority)
        for folder, name, size, reason, priority in rows
    ]
)
limits = st.builds(
    SizeLimits,
    files=st.integers(1, 9),
    file_bytes=st.integers(20, 60),
    submission_bytes=st.none() | st.integers(30, 120),
)


@given(entries, limits, st.integers(1, 9), st.booleans(), st.booleans())
def test_groups_are_whole_and_every_file_comes_out_once(
    rows: list[Entry], limit: SizeLimits, per_run: int, cut: bool, pack: bool
) -> None:
    grouping = Grouping("directory", cut, pack)
    by_name: defaultdict[str, list[Entry]] = defaultdict(list)
    for row in rows:
        by_name[str(grouping.group_of(row))].append(row)
    groups = [
        Group(
            name,
            tuple(SourceFile(one.path, one.size_bytes, 1, name) for one in some if isinstance(one, SourceFile)),
            tuple(one for one in some if isinstance(one, SkippedFile)),
        )
        for name, some in by_name.items()
    ]

    found = list(cut_groups(groups, grouping, limit, per_run))

    assert paths(found) == paths([SkippedFile(row.path, SkipReason.EMPTY) for row in rows])
    check_limits(found, limit, per_run)
    where: defaultdict[str, set[int]] = defaultdict(set)
    shared: defaultdict[int, set[str]] = defaultdict(set)
    for one in submissions(found):
        for planned in one.files:
            where[planned.group].add(one.index)
            shared[one.index].add(planned.group)
    assert cut or all(len(some) == 1 for some in where.values())
    assert pack or all(len(some) == 1 for some in shared.values())
    why = reasons(found)
    for name, some in by_name.items():
        left = [row for row in some if isinstance(row, SourceFile) and row.path in why]
        whole = [row for row in some if isinstance(row, SourceFile)]
        assert left in ([], whole), "some of a group were sent, some weren't"
        blamed = any(isinstance(row, SkippedFile) and row.reason in BLAMED for row in some)
        assert not (blamed and where[name])


def test_a_temporary_stage_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert len(plan([file("a/1"), file("b/1")], "directory")) == 2

    assert not list(tmp_path.iterdir())

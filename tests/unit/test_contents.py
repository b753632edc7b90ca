"""What `plan` says each run will contain, and when it warns."""

from __future__ import annotations

import pytest

from paceline.model import SizeLimits, SkippedFile, SkipReason, SourceFile
from paceline.providers.kinds import provider_kind
from producers.contents import Contents, Way
from producers.grouping import Grouping
from producers.planning import Cut, plan_entries
from tests.support.grouped import Entry, handed

KOLENA = provider_kind("kolena").together
FLAT: list[Entry] = [SourceFile(f"{n:02d}", 1, 1) for n in range(12)]
DEEP: list[Entry] = [SourceFile(f"{n // 3}/{n:02d}", 1, 1) for n in range(12)]
CASES: list[Entry] = [SourceFile(f"{n}", 1, 1, f"g{n % 3}", (("case", n % 2),)) for n in range(12)]


def contents(
    rows: list[Entry],
    per_run: int = 300,
    grouping: Grouping | None = None,
    *,
    ordered: bool = True,
    chosen: bool = False,
) -> Contents:
    """Plan and look at it."""
    plan = plan_entries(handed(rows, ordered=ordered), Cut(SizeLimits(300, 100), per_run, grouping=grouping))
    return Contents(Way(grouping, KOLENA, ordered, chosen)).add_all(plan)


@pytest.mark.parametrize(
    ("rows", "per_run", "grouping", "words"),
    [
        ([], 300, None, "no run"),
        ([SkippedFile("a", SkipReason.EMPTY)], 300, None, "no run"),
        (FLAT, 1, None, "each run: one file"),
        (FLAT, 300, None, "one run: all 12 files, from 1 folder"),
        (FLAT, 5, None, "each run: up to 5 files in the order of their paths, of one folder"),
        (DEEP, 5, None, "each run: up to 5 files in the order of their paths, from up to 3 folders"),
        (DEEP, 300, Grouping("directory"), "each run: the files of one folder (3 files)"),
        (DEEP[1:], 300, Grouping("directory"), "each run: the files of one folder (2–3 files)"),
        (DEEP, 7, Grouping("directory", pack=True), "each run: the files of up to 2 folders, each whole (6 files)"),
        (CASES, 300, Grouping("list"), "each run: one group of the list (4 files)"),
        (CASES, 300, Grouping("column:case"), "each run: the files with the same column 'case' (6 files)"),
        (FLAT, 300, Grouping("regex:^."), "each run: the files with the same match of '^.' (2–10 files)"),
        (FLAT, 10, Grouping("regex:^"), "no run"),
        (
            FLAT,
            6,
            Grouping("directory", cut=True),
            "each run: the files of one folder (6 files); groups too large for one are cut: 1 of 2 runs go on with the"
            " group before",
        ),
    ],
)
def test_each_run_is_described(rows: list[Entry], per_run: int, grouping: Grouping | None, words: str) -> None:
    assert contents(rows, per_run, grouping).words == words


def test_a_list_is_not_in_the_order_of_paths() -> None:
    assert "in the order of the list" in contents(FLAT[::-1], 5, ordered=False).words


@pytest.mark.parametrize(("rows", "per_run"), [(DEEP, 300), (DEEP, 5), (FLAT, 5)])
def test_files_that_share_a_run_by_chance_are_warned_of(rows: list[Entry], per_run: int) -> None:
    warning = contents(rows, per_run).warning

    assert warning is not None
    assert warning.startswith("Kolena answers each prompt once for ALL files of a run; ")
    assert "--files-per-run 1" in warning
    assert "--group-by directory" in warning


@pytest.mark.parametrize(
    "found",
    [
        contents([], 300),
        contents(FLAT, 300),
        contents(DEEP, 1),
        contents(DEEP, 5, chosen=True),
        contents(DEEP, 300, Grouping("directory")),
        contents(DEEP, 300, Grouping("directory", pack=True)),
    ],
    ids=["nothing", "one folder, one run", "a file each", "a person said how many", "groups", "packed groups"],
)
def test_what_was_decided_is_not_warned_of(found: Contents) -> None:
    assert found.warning is None


@pytest.mark.parametrize("name", ["kolena", "kindo"])
def test_each_provider_says_what_it_makes_of_a_run(name: str) -> None:
    assert "ALL" in provider_kind(name).together
    assert not provider_kind(name).together.endswith(".")


def test_numbers_for_programs() -> None:
    found = contents(DEEP[1:], 300, Grouping("directory")).as_dict()

    assert (found["files"], found["folders"], found["groups"]) == ([2, 3], [1, 1], [1, 1])

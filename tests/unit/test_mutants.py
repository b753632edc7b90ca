"""The script that plants bugs: each still applies, and only a test that ran and failed counts as having caught one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from docs import faults
from docs import planted as page
from tests.mutants import ROOT, Copy, Fate, Trial, chosen, judge, planted, table
from tests.planted import MUTANTS, Mutant

NAMES = [mutant.name for mutant in MUTANTS]
FAILED = "FAILED tests/unit/test_a.py::test_b[c - d] - assert 1 == 2\n"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_every_bug_still_applies_and_names_tests_that_exist(mutant: Mutant) -> None:
    whole = (ROOT / mutant.file).read_text("utf-8")
    assert planted(whole, mutant) != whole
    files = {name.partition("::")[0] for name in faults.test_names(ROOT)}
    names = faults.test_names(ROOT) | files
    assert [test for test in mutant.tests if test.partition("[")[0] not in names] == []


def test_every_bug_has_a_name_of_its_own() -> None:
    assert [name for name, times in Counter(NAMES).items() if times > 1] == []


@pytest.mark.parametrize("text", ["nothing of the kind", "old old"])
def test_a_bug_that_no_longer_applies_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no longer applies"):
        planted(text, Mutant("m", "", "a.lua", (("old", "new"),), ()))


def test_a_bug_that_is_no_program_is_an_error() -> None:
    with pytest.raises(SyntaxError):
        planted("x = 1\n", Mutant("m", "", "a.py", (("x = 1", "x = ("),), ()))


@pytest.mark.parametrize(
    ("code", "output", "fate"),
    [
        (1, FAILED, Fate.CAUGHT),
        (0, "5 passed", Fate.SURVIVED),
        (1, "ERROR tests/unit/test_a.py::test_b - fixture", Fate.BROKEN),
        (2, "ERROR tests/unit/test_a.py - SyntaxError", Fate.BROKEN),
        (4, "ERROR: not found: tests/unit/test_a.py::test_b", Fate.BROKEN),
        (5, "no tests ran", Fate.BROKEN),
        (-9, FAILED, Fate.BROKEN),
        (1, f"E   NameError: name 'x' is not defined\n{FAILED}", Fate.BROKEN),
        (1, f"E   redis.exceptions.ResponseError: Error compiling script (new function)\n{FAILED}", Fate.BROKEN),
    ],
)
def test_only_a_test_that_ran_and_failed_has_caught_a_bug(code: int, output: str, fate: Fate) -> None:
    assert judge(code, output).fate is fate


def test_what_caught_a_bug_is_named_without_parameters_and_once() -> None:
    assert judge(1, FAILED + FAILED.replace("[c - d]", "[e]")).by == ("tests/unit/test_a.py::test_b",)


def test_an_unknown_name_is_refused() -> None:
    assert [mutant.name for mutant in chosen(NAMES[:1])] == NAMES[:1]
    assert chosen([]) == list(MUTANTS)
    with pytest.raises(ValueError, match="no such bug"):
        chosen(["no such bug"])


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git says what belongs to the project")
def test_bugs_are_planted_in_a_copy_that_runs_itself(tmp_path: Path) -> None:
    before = (ROOT / "paceline/times.py").read_bytes()
    copy = Copy(tmp_path.resolve())
    copy.check()
    harmless = Mutant("m", "", "paceline/times.py", (("def iso_from_ns(", "NOTHING = 1\n\n\ndef iso_from_ns("),), ())
    assert copy.try_out(replace(harmless, tests=("tests/unit/test_times.py",))).fate is Fate.SURVIVED
    assert (copy.folder / "paceline/times.py").read_bytes() == before
    assert (ROOT / "paceline/times.py").read_bytes() == before


class TestTable:
    """docs/reliability.md has a row for every bug, and every row a bug and a test."""

    TESTS = ("tests/unit/test_a.py::test_b",)

    def page(self, *names: str, by: tuple[str, ...] = TESTS) -> str:
        trials = {mutant.name: Trial(Fate.CAUGHT, by, 1.0) for mutant in MUTANTS}
        rows = [row for row in table(trials).splitlines() if row.split("|")[1].strip() not in names]
        return "\n".join(["# a", f"<!-- generated: {page.BLOCK} -->", *rows, f"<!-- end: {page.BLOCK} -->", ""])

    def wrong(self, text: str, names: list[str] = NAMES) -> list[tuple[int, str]]:
        return list(page.wrong_rows(text, names, self.TESTS))

    def test_a_table_as_it_is_written_is_right(self) -> None:
        assert self.wrong(self.page()) == []

    def test_a_bug_without_a_row_is_found(self) -> None:
        assert [text for _, text in self.wrong(self.page(NAMES[3]))] == [
            f"the bug {NAMES[3]!r} has no row; run: make mutants WRITE=1"
        ]

    def test_a_row_without_a_bug_is_found_with_its_line(self) -> None:
        ((number, text),) = self.wrong(self.page(), NAMES[1:])
        assert (number, "planted no more" in text) == (5, True)

    def test_a_test_that_does_not_exist_and_one_that_is_not_named_are_found(self) -> None:
        assert len(self.wrong(self.page(by=("tests/unit/test_a.py::test_c",)))) == len(NAMES)
        assert len(self.wrong(self.page(by=()))) == len(NAMES)

    def test_a_page_without_the_table_is_found(self) -> None:
        assert self.wrong("# a\n")

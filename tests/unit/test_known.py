"""Marks: the same for the same file, whatever it is listed from, and different for everything else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.exits import Exit, exit_of_summary
from cli.known import left_out_text
from cli.lost import run_command
from paceline.known import BUCKET_BITS, Scope, naming
from paceline.model import BatchSpec

SPEC = BatchSpec("/docs", "acme", "kolena", "42", ("/out",), 300, "", address="https://api.example")
NOW = 1_700_000_000_123_456_789


def test_what_only_says_where_results_go_or_how_a_batch_is_run_is_no_part_of_the_scope() -> None:
    other = replace(SPEC, source="/docs/2025", account="second", to=("/b", "/c"), name="x", priority=3)
    other = replace(other, options={"skip": "content", "include": "*.pdf"}, choices={"max_runs": "3"})
    assert Scope(other).name == Scope(SPEC).name
    assert Scope(other).file("/docs/a", 1, NOW) == Scope(SPEC).file("/docs/a", 1, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "kindo"},
        {"address": "https://elsewhere.example"},
        {"agent": "43"},
        {"files_per_run": 1},
        {"options": {"input:language": "de"}},
        {"options": {"group_by": "directory"}},
        {"options": {"groups": "pack"}},
    ],
    ids=str,
)
def test_whatever_may_change_an_answer_is_another_scope(change: dict[str, Any]) -> None:
    other = Scope(replace(SPEC, **change))
    assert other.name != Scope(SPEC).name
    assert other.file("/docs/a", 1, NOW) != Scope(SPEC).file("/docs/a", 1, NOW)
    assert other.content(b"x" * 32) != Scope(SPEC).content(b"x" * 32)


def test_a_mark_fits_its_set_and_every_set_gets_its_share() -> None:
    scope = Scope(SPEC)
    marks = [scope.file(f"/docs/{n}", n, NOW + n) for n in range(50_000)]
    assert all(0 <= bucket < 1 << BUCKET_BITS and -(1 << 63) <= member < 1 << 63 for bucket, member in marks)
    assert len(set(marks)) == len(marks)
    assert max(Counter(bucket >> 8 for bucket, _ in marks).values()) < 100  # 49 on average
    assert {member < 0 for _, member in marks} == {True, False}


def test_name_size_time_and_kind_each_make_another_mark() -> None:
    scope = Scope(SPEC)
    files = [("/a", 1, NOW), ("/b", 1, NOW), ("/a", 2, NOW), ("/a", 1, NOW + 1), ("/a", 1, -1), ("/a", 1, 10**20)]
    files += [("/\udcff", 1, NOW), ("/\n", 1, NOW), ("1 /a", 1, NOW)]
    marks = [scope.file(*file) for file in files] + [scope.group([file]) for file in files]
    marks += [scope.content(b"x" * 32), scope.group_content([b"x" * 32])]
    assert len(set(marks)) == len(marks)


def test_a_group_is_the_set_of_its_files_in_any_order() -> None:
    scope = Scope(SPEC)
    a, b, c = ("/a", 1, NOW), ("/b", 2, NOW), ("/c", 3, NOW)
    assert scope.group([a, b]) == scope.group([b, a])
    assert len({scope.group(some) for some in ([a], [a, b], [a, b, c], [a, ("/b", 2, NOW + 1)])}) == 4
    one, two = b"1" * 32, b"2" * 32
    assert scope.group_content([one, two]) == scope.group_content([two, one])
    assert scope.group_content([one, one]) != scope.group_content([one])


def test_a_file_has_one_name_whatever_source_it_is_listed_from(tmp_path: Path) -> None:
    (tmp_path / "2025").mkdir()
    (tmp_path / "2025" / "a.pdf").touch()
    whole = str(tmp_path / "2025" / "a.pdf")
    assert naming(str(tmp_path))("2025/a.pdf") == whole
    assert naming(str(tmp_path / "2025"))("a.pdf") == whole
    assert naming(whole)("a.pdf") == whole
    assert naming("/")("a.pdf") == "/a.pdf"
    assert naming("s3://bucket/docs/")("a.pdf") == naming("s3://bucket/docs")("a.pdf") == "s3://bucket/docs/a.pdf"
    assert naming("urls:")("https://host/a.pdf") == "https://host/a.pdf"


@pytest.mark.parametrize(
    ("left_out", "code"),
    [
        ({}, Exit.NOTHING_USABLE),  # planned by an older version, which didn't note why
        ({"empty": 3}, Exit.NOTHING_USABLE),
        ({"empty": 1, "unchanged": 2}, Exit.NOTHING_TO_DO),
        ({"same_content": 3}, Exit.NOTHING_TO_DO),
    ],
)
def test_a_batch_without_submissions_has_nothing_to_do_if_some_files_are_known(
    left_out: dict[str, int], code: Exit
) -> None:
    summary = {"state": "complete", "submissions": {"total": 0}, "files": {"skipped": 3}, "left_out": left_out}
    assert exit_of_summary(summary, tolerated=False) is code


def test_known_files_are_named_first_among_those_left_out() -> None:
    shown = left_out_text({"empty": 2, "same_content": 1, "too_large": 4, "unchanged": 2998})
    assert shown == "2,998 unchanged · 1 same_content · 2 empty · 4 too_large"


def test_the_command_that_goes_on_repeats_what_makes_the_batch() -> None:
    options = {"skip": "content", "group_by": "directory", "groups": "cut pack"}
    command = run_command(replace(SPEC, options=options))
    for words in ("--skip-unchanged --checksum", "--group-by directory", "--cut-groups", "--pack-groups"):
        assert words in command
    assert "--checksum" not in run_command(replace(SPEC, options={"skip": "unchanged"}))

"""What `paceline plan` says of a deadline that isn't kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.planning import command
from tests.support.trees import put

STARTS = "2999-01-01T00:00:00+00:00"
LARGER = "larger runs would do: --files-per-run 6"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three folders of four files, and a pace of one run a minute."""
    for name in list(os.environ):
        if name.startswith(("PACELINE_", "KOLENA_", "KINDO_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KOLENA_API_KEY", "k")
    monkeypatch.setenv("PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD", "1/60s")
    for number in range(12):
        put(tmp_path / "files" / str(number // 4) / f"{number}.txt")


def plan(seconds: int, *options: str) -> int:
    deadline = f"2999-01-01T00:{seconds // 60:02}:{seconds % 60:02}+00:00"
    times = ("--start", STARTS, "--deadline", deadline)
    found: int = command.main(["files", "--files-per-run", "4", *times, *options], standalone_mode=False)
    return found


def test_what_is_too_late_says_what_binds_and_what_would_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(90) == 0

    said = capsys.readouterr().out
    assert "too late at the best; the pace binds" in said
    assert "by then, at the best 2 of 3 runs would be through" in said
    assert "a pace of 2/60s would do" in said
    assert LARGER in said


def test_what_may_be_too_late_is_a_perhaps(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(300) == 0
    assert "perhaps; it may get" in capsys.readouterr().out

    assert plan(300, "--json") == 0
    verdict = json.loads(capsys.readouterr().out)["deadline"]
    assert (verdict["feasible"], verdict["binds"]) == (None, "runs")


@pytest.mark.parametrize(("options", "helps"), [((), False), (("--pack-groups",), True)])
def test_larger_runs_are_no_help_where_each_group_is_one(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], helps: bool
) -> None:
    plan(90, "--group-by", "directory", *options)

    said = capsys.readouterr().out
    assert "a pace of 2/60s would do" in said
    assert (LARGER in said) is helps

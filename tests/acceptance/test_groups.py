"""Folders as cases, with the shipped command: each is one run or none, and what was left out says why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.acceptance.test_run import accepted
from tests.support.command import Paceline, read_lines
from tests.support.sandbox import Sandbox
from tests.support.trees import put

COMMAND = ("cases", "--agent", "kolena:1", "--to", "out", "--group-by", "directory", "--files-per-run", "5")


def make_cases(folder: Path) -> None:
    """Make two cases that can be sent, one too large for a run, one that lacks a file."""
    for name, number in (("ada", 3), ("bob", 5), ("huge", 6), ("torn", 2)):
        for n in range(number):
            put(folder / name / f"{n}.txt", f"{name} {n}".encode())
    (folder / "torn" / "lost.txt").symlink_to("nowhere")
    (folder / "ada" / "empty.txt").touch()


def test_each_folder_is_one_run_or_says_why_not(tmp_path: Path) -> None:
    make_cases(tmp_path / "cases")
    with Sandbox("--run-seconds", "0.3") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        planned = paceline.here("plan", *COMMAND, "--json").json()
        assert planned["contents"]["words"] == "each run: the files of one folder (3–5 files)"
        assert planned["contents"]["warning"] is None
        assert planned["skipped"] == {"empty": 1, "group_incomplete": 2, "group_too_large": 6, "unreadable": 1}

        result = paceline("run", *COMMAND)

        assert result.code == 0, result.stderr
        assert "ALL files of a run" not in result.stderr
        records = read_lines(tmp_path / "out" / "results.jsonl")
        assert [(row["group"], len(row["files"])) for row in records] == [("ada", 3), ("bob", 5)]
        assert accepted(sandbox).total() == 2
        rows = read_lines(tmp_path / "out" / "files.jsonl")
        assert Counter((row["group"], row["reason"]) for row in rows) == {
            ("ada", "completed"): 3,
            ("ada", "empty"): 1,
            ("bob", "completed"): 5,
            ("huge", "group_too_large"): 6,
            ("torn", "group_incomplete"): 2,
            ("torn", "unreadable"): 1,
        }
        verified = paceline.here("verify", "out")
        assert verified.code == 0, verified.stdout + verified.stderr
        assert not list((paceline.home / "staged").iterdir())

        refused = paceline.here("run", *COMMAND, "--isolate")
        assert refused.code == 2
        assert "--pack-groups" in refused.stderr

"""One bad file among many, with the shipped command: it is named, the others are done, and it can be sent again."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.test_run import accepted
from tests.support.command import Paceline, make_files, read_lines
from tests.support.sandbox import Sandbox

COMMAND = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "8", "--isolate-runs", "10")
BAD = "file-0007.txt"


def test_a_bad_file_is_named_and_sent_again_once_it_is_mended(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 16)
    with (
        Sandbox("--run-seconds", "0.3", "--fault", f"fail_runs:file={BAD}") as sandbox,
        Paceline(tmp_path, url=sandbox.url) as paceline,
    ):
        result = paceline(*COMMAND, "--json")

        assert result.code == 1, result.stderr
        summary = result.json()
        assert (summary["files"]["succeeded"], summary["files"]["failed"]) == (15, 1)
        rows = read_lines(tmp_path / "out" / "files.jsonl")
        assert [row["path"] for row in rows] == [row["path"] for row in read_lines(tmp_path / "out" / "manifest.jsonl")]
        (bad,) = [row for row in rows if row["outcome"] == "failed"]
        assert (bad["path"], bad["reason"]) == (BAD, "run_failed")
        assert summary["runs_accepted"] == accepted(sandbox).total() == 2 + 6
        shown = paceline.here("show", bad["submission"], "--json").json()
        assert len(shown["files"]) == 1
        whole = paceline.here("show", shown["half_of"])
        assert f"half         {bad['submission']}" in whole.stdout
        status = paceline.here("status", summary["batch"])
        assert status.code == 1
        assert "3 submissions split in halves; 6 of 10 runs spent on that" in status.stdout
        assert f"1 run_failed: {bad['submission']}" in status.stdout
        verified = paceline.here("verify", "out")
        assert verified.code == 0, verified.stdout + verified.stderr

        sandbox.clear_faults()
        assert paceline.here("retry", summary["batch"], "--yes").code == 0
        again = paceline(*COMMAND)

        assert again.code == 0, again.stderr
        assert accepted(sandbox).total() == 9
        assert {row["outcome"] for row in read_lines(tmp_path / "out" / "files.jsonl")} == {"succeeded"}
        assert len(rows) == len(list(source.rglob("*.txt")))

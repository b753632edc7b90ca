"""A plan that was saved is what runs, with the shipped command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.command import Paceline, make_files, read_lines
from tests.support.sandbox import Sandbox


def test_a_plan_is_run_as_it_stands_and_the_next_one_knows_what_it_cost(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 11)
    (tmp_path / "files" / "empty.txt").touch()
    with Sandbox("--run-seconds", "0.5") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        options = ("--agent", "kolena:1", "--to", "out", "--files-per-run", "4", "--max-runs", "1")
        planned = paceline.here("plan", "files", *options, "--save", "x.plan", "--json")
        assert planned.code == 0, planned.stderr
        plan = planned.json()
        assert (plan["plan"], plan["credits"]) == (str(tmp_path / "x.plan"), None)
        (tmp_path / "files" / "a-new-file.txt").write_text("not part of it")
        for name in ("file-0001.txt", "file-0002.txt"):
            (tmp_path / "files" / name).unlink()
        lines = (tmp_path / "x.plan").read_bytes().partition(b"\n")[2]

        stopped = paceline("run", "x.plan")
        assert stopped.code == 3, stopped.stderr
        assert "11 files in 3 submissions, made" in stopped.stderr
        assert "1 submission has a file that changed or vanished" in stopped.stderr
        again = paceline("run", "x.plan", "--max-runs", "0", "--json")
        assert again.code == 1, again.stderr
        assert again.json()["batch"] == plan["batch"]
        assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == lines
        reasons = Counter(row["reason"] for row in read_lines(tmp_path / "out" / "results.jsonl"))
        assert reasons["file_missing"] == 1
        sent = [row["external_id"] for row in sandbox.log(request_class="add") if row["run_id"] is not None]
        assert len(sent) == len(set(sent)) == 2

        done = paceline.here("run", "x.plan")
        assert "complete already" in done.stderr
        assert len(sandbox.log(request_class="add")) == 2

        late = ("--deadline", "2999-01-01", "--json")
        next_one = paceline.here("plan", "files", "--agent", "kolena:1", "--to", "out2", *late).json()
        credits, paid = next_one["credits"], again.json()["credits"]
        assert credits["basis"] == {"batches": 1, "runs": 2}
        assert credits["expected"] == pytest.approx(paid / 7 * 10 if credits["per"] == "file" else paid / 2)
        assert (next_one["deadline"]["feasible"], next_one["takes"]["run_seconds"]["runs_seen"]) == (True, 2)


def test_a_plan_that_was_changed_or_is_given_other_options_sends_nothing(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 3)
    with Sandbox() as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        plan = paceline.here("plan", "files", "--agent", "kolena:1", "--to", "out", "--save", "x.plan")
        assert "paceline run" in plan.stderr
        content = (tmp_path / "x.plan").read_bytes()
        (tmp_path / "y.plan").write_bytes(content.replace(b"file-0001.txt", b"file-0002.txt"))
        changed = paceline.here("run", "y.plan")
        assert (changed.code, "was changed" in changed.stderr) == (2, True)
        other = paceline.here("submit", "x.plan", "--to", "elsewhere")
        assert (other.code, "--to" in other.stderr) == (2, True)
        assert sandbox.log() == []
        assert not (tmp_path / "out").exists()

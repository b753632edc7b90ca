"""What a person does after a batch is complete: collect late runs, retry failed ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files, read_lines
from tests.support.sandbox import Sandbox

RUN = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2")


def test_what_failed_is_sent_again_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 6)
    with Sandbox("--run-seconds", "0.5") as sandbox, Paceline(tmp_path, url=sandbox.url) as paceline:
        sandbox.faults("fail_runs@add:count=1")
        first = paceline(*RUN, "--json")
        assert first.code == 1
        batch = first.json()["batch"]
        (failed,) = read_lines(tmp_path / "out" / "failures.jsonl")

        assert paceline.here("retry", batch, "--reason", "rejected").code == 9
        again = paceline.here("retry", batch)
        assert (again.code, "1 submission again" in again.stderr) == (0, True)
        second = paceline(*RUN, "--json")

        assert second.code == 0, second.stderr
        assert second.json()["runs_accepted"] == 4
        assert second.json()["duplicate_runs"] == 0
        check_output(source, tmp_path / "out", 3)
        assert Counter(accepted(sandbox).values()) == {1: 2, 2: 1}
        (record,) = [
            row for row in read_lines(tmp_path / "out" / "results.jsonl") if row["submission"] == failed["submission"]
        ]
        assert (record["attempts"], record["run_id"] != failed["run_id"]) == (2, True)
        journal = paceline.here("show", failed["submission"], "--json").json()["journal"]
        assert [row["run_id"] for row in journal if row["verb"] == "retry"] == [failed["run_id"]]
        assert paceline.here("verify", batch).code == 0
        assert paceline.here("retry", batch).code == 9


def test_a_run_that_took_too_long_is_collected_when_it_has_ended(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 6)
    with (
        Sandbox("--run-seconds", "0.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, run_limit_seconds="3") as paceline,
    ):
        sandbox.faults("slow_runs@add:count=1,seconds=600")
        first = paceline(*RUN, "--json")
        assert first.code == 1
        batch = first.json()["batch"]
        (late,) = read_lines(tmp_path / "out" / "failures.jsonl")
        assert late["reason"] == "timed_out"
        assert paceline.here("retry", batch).code == 9  # it would be paid for twice

        sandbox.finish([int(late["run_id"])])
        assert paceline.here("collect", batch).code == 0
        second = paceline(*RUN)

        assert second.code == 0, second.stderr
        check_output(source, tmp_path / "out", 3)
        assert set(accepted(sandbox).values()) == {1}
        assert paceline.here("verify", batch).code == 0
        assert paceline.here("collect", batch).code == 9

"""A submission that nobody can tell about: the command stops and asks, and a person's word carries on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files
from tests.support.sandbox import Sandbox


def test_what_cannot_be_known_is_held_until_a_person_decides(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 4)
    faults = ("--fault", "accept_then_drop@add:count=1", "--fault", "status@list:code=503")
    with (
        Sandbox("--run-seconds", "0.5", *faults) as sandbox,
        Paceline(tmp_path, url=sandbox.url, hold_after_seconds="2") as paceline,
    ):
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        process = paceline.start(*command)
        sandbox.wait("accepted", count=4, timeout=60)
        batch = paceline.here("list", "--json").json()[0]["batch"]

        def held() -> list[str]:
            return [
                line for line in paceline.here("status", batch).stdout.splitlines() if line.strip().startswith("held")
            ]

        from tests.support.command import wait_for

        (line,) = wait_for(held, "a held submission")
        submission = line.split()[-1]
        sandbox.clear_faults()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 4, out + err
        assert "paceline resolve" in err
        assert paceline.here("resolve", submission).code == 2
        (run_id,) = [row["run_id"] for row in sandbox.log(request_class="add") if submission in row["external_id"]]
        assert paceline.here("resolve", submission, "--run-id", str(run_id)).code == 0
        assert paceline.here("resolve", submission, "--fail").code == 2
        assert paceline(*command).code == 0
        check_output(source, tmp_path / "out", 4)
        assert Counter(accepted(sandbox).values()) == {1: 4}

"""The main job with the shipped command, real workers and a real Redis."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Paceline, make_files, read_lines, wait_for
from tests.support.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0.5-1.5") as running:
        yield running


HALT = "5/6s"
"""A pace at which a batch of more than five submissions stands still in the middle; `go_on` ends that."""


def go_on(paceline: Paceline) -> None:
    """Let the next command send as fast as it can."""
    paceline.environment["PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD"] = "1000/10s"


def accepted(sandbox: Sandbox) -> Counter[str]:
    """Count accepted runs per external id, from the sandbox's own log."""
    return Counter(row["external_id"] for row in sandbox.log(request_class="add") if row["run_id"] is not None)


def check_output(source: Path, out: Path, submissions: int) -> None:
    """Hold the output against the files on disk."""
    assert (out / "_SUCCESS").exists()
    files = {row["path"]: row for row in read_lines(out / "files.jsonl")}
    on_disk = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert set(files) == on_disk
    for path, row in files.items():
        assert row["outcome"] == "succeeded"
        assert row["sha256"] in (None, hashlib.sha256((source / path).read_bytes()).hexdigest())
    records = read_lines(out / "results.jsonl")
    assert len(records) == submissions
    assert len({record["submission"] for record in records}) == submissions
    assert sorted(path for record in records for path in record["files"]) == sorted(on_disk)


def test_a_pile_of_files_becomes_results_that_match_the_files(tmp_path: Path, sandbox: Sandbox) -> None:
    source = make_files(tmp_path / "files", 25)
    with Paceline(tmp_path, url=sandbox.url) as paceline:
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "5", "--json")
        assert result.code == 0, result.stderr
        summary = result.json()
        assert summary["state"] == "complete"
        assert summary["files"] == {
            "total": 25,
            "succeeded": 25,
            "failed": 0,
            "cancelled": 0,
            "skipped": 0,
            "pending": 0,
        }
        assert summary["submissions"]["exported"] == 5
        check_output(source, tmp_path / "out", 5)
        assert set(accepted(sandbox).values()) == {1}
        record = read_lines(tmp_path / "out" / "results.jsonl")[0]
        rows = record["data"]["Inventory"]["value"]
        assert len(rows) == 5
        by_name = {Path(path).name: source / path for path in record["files"]}
        for row in rows:
            assert row["sha256"] == hashlib.sha256(by_name[row["file"]].read_bytes()).hexdigest()


def test_the_same_command_again_pays_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    make_files(tmp_path / "files", 6)
    with Paceline(tmp_path, url=sandbox.url) as paceline:
        command = ("run", "files", "--agent", "kolena:1", "--to", "out")
        assert paceline(*command).code == 0
        before = len(sandbox.log())
        again = paceline(*command)
        assert again.code == 0
        assert "complete already" in again.stderr
        assert len(sandbox.log()) == before


def test_ctrl_c_detaches_and_the_same_command_goes_on_with_the_same_batch(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 20)
    with (
        Sandbox("--run-seconds", "1") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add=HALT) as paceline,
    ):
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        process = paceline.start(*command)
        sandbox.wait("accepted", count=3, timeout=60)
        detached = paceline.interrupt(process)
        assert detached.code == 130
        assert "Come back with" in detached.stderr
        assert paceline.pids("worker") == []
        go_on(paceline)
        assert paceline(*command).code == 0
        check_output(source, tmp_path / "out", 20)
        assert Counter(accepted(sandbox).values()) == {1: 20}


def test_a_worker_killed_in_mid_batch_costs_nothing_twice(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 60)
    with (
        Sandbox("--run-seconds", "1", "--limit", "add=20/3s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="20/3s") as paceline,
    ):
        process = paceline.start("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        for count in (5, 25, 45):
            sandbox.wait("accepted", count=count, timeout=60)
            for pid in paceline.pids("worker-1") + (paceline.pids("worker-2") if count == 25 else []):
                os.kill(pid, signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        check_output(source, tmp_path / "out", 60)
        assert Counter(accepted(sandbox).values()) == {1: 60}


def test_everything_killed_at_once_goes_on_with_the_same_command(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 20)
    with (
        Sandbox("--run-seconds", "1") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add=HALT) as paceline,
    ):
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        process = paceline.start(*command)
        sandbox.wait("accepted", count=4, timeout=60)
        victims = [process.pid, *paceline.pids("worker"), *paceline.pids("redis")]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        go_on(paceline)
        result = paceline(*command)
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 20)
        assert Counter(accepted(sandbox).values()) == {1: 20}


def test_redis_killed_in_mid_batch_comes_back_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 30)
    with (
        Sandbox("--run-seconds", "1", "--limit", "add=15/3s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="15/3s") as paceline,
    ):
        process = paceline.start("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        for count in (4, 20):
            sandbox.wait("accepted", count=count, timeout=60)
            for pid in paceline.pids("redis"):
                os.kill(pid, signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        assert "Redis went away" in err
        check_output(source, tmp_path / "out", 30)
        assert Counter(accepted(sandbox).values()) == {1: 30}


def test_deleting_every_queue_changes_only_time(tmp_path: Path) -> None:
    import redis

    from config.embedded import EmbeddedServer

    source = make_files(tmp_path / "files", 40)
    with (
        Sandbox("--run-seconds", "1", "--limit", "add=20/3s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="20/3s") as paceline,
    ):
        process = paceline.start("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        sandbox.wait("accepted", count=10, timeout=60)
        client = redis.Redis(unix_socket_path=str(EmbeddedServer(paceline.home).socket_path))
        for _ in range(20):
            client.delete("submit.kolena", "control", "export", "unacked", "unacked_index")
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        check_output(source, tmp_path / "out", 40)
        assert Counter(accepted(sandbox).values()) == {1: 40}


def test_lost_and_unclear_answers_are_resolved_by_asking(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 20)
    faults = (
        "--fault",
        "accept_then_drop@add:count=3",
        "--fault",
        "accept_then_status@add:code=502,count=2",
        "--fault",
        "status@add:code=503,count=2",
    )
    with (
        Sandbox("--run-seconds", "0.5", *faults) as sandbox,
        Paceline(tmp_path, url=sandbox.url) as paceline,
    ):
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 20)
        assert Counter(accepted(sandbox).values()) == {1: 20}


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads command lines from /proc")
def test_no_key_appears_in_anything_that_is_left_behind(tmp_path: Path, sandbox: Sandbox) -> None:
    key = "canary-1f7e9b2c44"
    make_files(tmp_path / "files", 10)
    with Paceline(tmp_path, url=sandbox.url, key=key) as paceline:
        process = paceline.start("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2")
        sandbox.wait("accepted", count=2, timeout=60)
        for pid in [process.pid, *paceline.pids("")]:
            assert key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0
        assert key not in out + err
        for path in [*paceline.home.rglob("*"), *(tmp_path / "out").rglob("*")]:
            if path.is_file():
                assert key.encode() not in path.read_bytes(), path


def test_failed_runs_are_reported_with_exit_code_one(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 6)
    with (
        Sandbox("--run-seconds", "0.5", "--fault", "fail_runs:count=2") as sandbox,
        Paceline(tmp_path, url=sandbox.url) as paceline,
    ):
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1", "--json")
        assert result.code == 1, result.stderr
        assert result.json()["outcomes"]["failed"] == 2
        assert len(read_lines(tmp_path / "out" / "failures.jsonl")) == 2


def test_a_key_refused_in_mid_batch_stops_everything_and_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 30)
    with (
        Sandbox("--run-seconds", "0.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="5/2s") as paceline,
    ):
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        process = paceline.start(*command)
        sandbox.wait("accepted", count=5, timeout=60)
        sandbox.keys(revoke="all", status=401)
        wait_for(
            lambda: [row for row in sandbox.log(request_class="add") if row["status"] == 401], "a refused submission"
        )
        sandbox.keys(restore="all")  # only reads go on by themselves; sending waits for a person
        out, err = process.communicate(timeout=120)
        assert process.returncode == 6, out + err
        assert "account kolena is paused" in err
        refused = [row for row in sandbox.log(request_class="add") if row["status"] == 401]
        assert len(refused) <= 8  # those under way at once, not one for every submission
        go_on(paceline)
        assert paceline(*command).code == 0
        check_output(source, tmp_path / "out", 30)
        assert Counter(accepted(sandbox).values()) == {1: 30}


def test_a_file_that_changed_since_planning_is_caught_before_anything_is_paid(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 7)
    with (
        Sandbox("--run-seconds", "0.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add=HALT) as paceline,
    ):
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        process = paceline.start(*command)
        sandbox.wait("accepted", count=5, timeout=60)
        wait_for(lambda: '"total": 7' in paceline.here("status", "--json").stdout, "the end of planning")
        changed = tmp_path / "files" / "sub" / "file-0005.txt"  # the last in order
        changed.write_text("something else")
        paceline.interrupt(process)
        go_on(paceline)
        assert paceline(*command).code == 1
        rows = {row["path"]: row for row in read_lines(tmp_path / "out" / "files.jsonl")}
        assert rows.pop("sub/file-0005.txt")["reason"] == "file_changed"
        assert {row["outcome"] for row in rows.values()} == {"succeeded"}
        assert Counter(accepted(sandbox).values()) == {1: 6}

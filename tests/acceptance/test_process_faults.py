"""What can happen to our own processes, with the shipped command: stopped for long, ended, killed while planning."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from config.embedded import EmbeddedServer
from paceline.model import external_id
from paceline.views import Views
from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox

RUN = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")


BIG = 30_000_000
"""More than the sockets of a connection hold: an upload stops where the sandbox stops reading."""


def big_files(folder: Path, number: int) -> Path:
    """Make files that no socket takes at once."""
    folder.mkdir()
    for n in range(number):
        (folder / f"{n}.bin").write_bytes(bytes([n]) * BIG)
    return folder


def stalled(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the uploads that stand still half way."""
    adds = sandbox.log(request_class="add", files=False)
    return [row for row in adds if row["fault"] == "stall_at" and row["end"] == "open"]


def test_a_worker_stopped_past_its_lease_in_mid_upload_changes_nothing_when_it_goes_on(tmp_path: Path) -> None:
    source = big_files(tmp_path / "files", 2)
    waits = {"upload_base_seconds": "6", "upload_bytes_per_second": "1e9", "lease_extra_seconds": "0.5"}
    # The first upload stands still half way; the second is accepted, and its answer comes when nobody listens.
    faults = ("--fault", "stall_at@add:fraction=0.5,count=1", "--fault", "delay@add:seconds=4,count=2")
    with Sandbox("--run-seconds", "3", *faults) as sandbox, Paceline(tmp_path, url=sandbox.url, **waits) as paceline:
        process = paceline.start(*RUN)
        sandbox.wait("accepted", count=1, timeout=60)
        wait_for(lambda: stalled(sandbox), "the upload that stands still")
        (stopped,) = paceline.pids("worker-1")
        os.kill(stopped, signal.SIGSTOP)
        try:
            sandbox.clear_faults()
            paceline.start("worker", "--role", "upload")
            sandbox.wait("accepted", count=2, timeout=60)  # from the other worker, after proof of absence
        finally:
            os.kill(stopped, signal.SIGCONT)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        check_output(source, tmp_path / "out", 2)
        assert Counter(accepted(sandbox).values()) == {1: 2}
        assert len(sandbox.log(request_class="add")) == 3
        (batch,) = {name.partition(".")[0] for name in accepted(sandbox)}
        shown = [paceline.here("show", name.partition(".")[2]).stdout for name in accepted(sandbox)]
        assert all("lease_expired" in text for text in shown)
        assert sorted("absent" in text for text in shown) == [False, True]
        assert "DUPLICATES" not in paceline.here("status", batch).stdout


def test_a_worker_and_a_command_told_to_end_finish_the_uploads_under_way(tmp_path: Path) -> None:
    source = big_files(tmp_path / "files", 4)
    with (
        Sandbox("--run-seconds", "0.5", "--fault", "stall_at@add:fraction=0.5,seconds=1.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, upload_threads="2") as paceline,
    ):
        process = paceline.start(*RUN)
        wait_for(lambda: len(stalled(sandbox)) == 2, "two uploads under way")
        (worker,) = paceline.pids("worker-1")
        os.kill(worker, signal.SIGTERM)
        sandbox.wait("accepted", count=2, timeout=60)
        wait_for(lambda: len(stalled(sandbox)) == 2, "two more, by the worker that came in its place")
        assert paceline.pids("worker-1") != [worker]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 130, out + err
        assert "Letting the uploads under way finish" in err
        result = paceline(*RUN)
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 4)
        assert len(sandbox.log(request_class="add")) == 4  # none was cut off and sent again
        assert Counter(accepted(sandbox).values()) == {1: 4}


def dying_at(index: int) -> str:
    """Write a command that is killed right after, or right before, a submission is registered."""
    return f"""
import os, signal
from paceline.ledger import Ledger
from cli.main import main

plan_all = Ledger.plan_all

def plan_and_die(self, batch, planned):
    indexes = [one.index for one, _, _ in planned]
    if {index} not in indexes:
        return plan_all(self, batch, planned)
    plan_all(self, batch, planned[:indexes.index({index}) + 1 - {index} % 2])
    os.kill(os.getpid(), signal.SIGKILL)

Ledger.plan_all = plan_and_die
main()
"""


def test_a_producer_killed_at_10_50_and_99_percent_of_planning_goes_on_to_the_same_batch(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 200)
    with (
        Sandbox("--run-seconds", "0.5", "--limit", "add=off") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="1000/1s") as paceline,
    ):
        for place in (10, 51, 99):
            killed = subprocess.run(
                [sys.executable, "-P", "-c", dying_at(place), *RUN[:-1], "2"],
                cwd=tmp_path,
                env=paceline.environment,
                capture_output=True,
                timeout=120,
            )
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            assert not (tmp_path / "out" / "_SUCCESS").exists()
        result = paceline(*RUN[:-1], "2")
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 100)
        assert Counter(accepted(sandbox).values()) == {1: 100}
        (batch,) = {name.partition(".")[0] for name in accepted(sandbox)}
        assert set(accepted(sandbox)) == {external_id(f"{batch}-{index:06d}") for index in range(1, 101)}


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits another process's files; Linux only")
def test_a_disk_that_fills_up_under_a_worker_is_told_and_the_batch_goes_on_when_there_is_room(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 12)
    with (
        Sandbox("--run-seconds", "2") as sandbox,
        Paceline(tmp_path, url=sandbox.url, export_again_seconds="2") as paceline,
    ):
        process = paceline.start(*RUN)
        sandbox.wait("accepted", count=12, timeout=60)
        (worker,) = paceline.pids("worker-2")  # it writes the results; there is room for each, but not for all together
        soft, hard = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (5000, hard))
        (batch,) = {name.partition(".")[0] for name in accepted(sandbox)}
        views = Views(redis.Redis(unix_socket_path=str(EmbeddedServer(paceline.home).socket_path)))
        wait_for(lambda: views.batch(batch).trouble, "that the output can't be written")
        assert "no room to write" in paceline.here("status", batch).stdout
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (soft, hard))
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        check_output(source, tmp_path / "out", 12)
        assert Counter(accepted(sandbox).values()) == {1: 12}

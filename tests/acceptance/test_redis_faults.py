"""Redis away, full, read-only, slow, put back to an older state: with the shipped command and a real server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files, read_lines, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import RedisServer

RUN = ("--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
PACE = "add=10/3s"
SETTINGS = {f"accounts__kolena__limits__{name}": "10/3s" for name in ("add", "list", "get")}
"""A window of 3 s for every class: that is how long each stays closed after a configured Redis has restarted."""
SETTINGS |= {"export_again_seconds": "3", "upload_base_seconds": "4"}  # what was under way is taken up again after that


@contextmanager
def worker_by_hand(paceline: Paceline) -> Iterator[Path]:
    """Run a worker as a fleet has it; yield its log."""
    log = paceline.folder / "worker.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", "worker"],
            cwd=paceline.folder,
            env=paceline.environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def spooled(paceline: Paceline, word: str) -> bool:
    path = paceline.home / "spool" / "requests.jsonl"
    return path.exists() and word in path.read_text()


def complete(paceline: Paceline) -> bool:
    return paceline.here("status", "--json").stdout.count('"state": "complete"') == 1


def verbs(paceline: Paceline, submission: str) -> list[str]:
    found: list[str] = [row["verb"] for row in paceline.here("show", submission, "--json").json()["journal"]]
    return found


def test_redis_away_right_after_an_accepted_post_loses_nothing(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 3)
    with (
        RedisServer(tmp_path / "redis", "--appendfsync", "always") as server,
        Sandbox("--run-seconds", "0.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=server.url, upload_base_seconds="60") as paceline,
    ):
        sandbox.faults("delay@add:seconds=3")
        with worker_by_hand(paceline) as log:
            assert paceline("submit", "files", *RUN).code == 0
            sandbox.wait("accepted", count=1, timeout=60)
            server.kill()
            wait_for(lambda: spooled(paceline, '"v":"accepted"'), "the run in the spool")
            wait_for(lambda: "spool.kept" in log.read_text(), "the ledger's absence noticed")
            server.start()
            wait_for(lambda: "spool.handed_in" in log.read_text(), "the run handed in")
            wait_for(lambda: complete(paceline), "the end", timeout_s=120)
        check_output(source, tmp_path / "out", 3)
        assert set(accepted(sandbox).values()) == {1}
        first = sandbox.log(request_class="add")[0]["external_id"]
        assert "uncertain" not in verbs(paceline, first.partition(".")[2])  # known from the spool, not by asking


def full(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", 1)
        time.sleep(2)
        client.config_set("maxmemory", 0)


def read_only(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        time.sleep(2)
        client.execute_command("REPLICAOF", "NO", "ONE")


def slow(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("CLIENT", "PAUSE", "2000", "ALL")


def cut_off(server: RedisServer) -> None:
    with server.client() as client:
        for _ in range(20):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(0.1)


def restart(server: RedisServer) -> None:
    for _ in range(3):
        server.kill()
        time.sleep(0.3)
        server.start()
        time.sleep(0.3)


@pytest.mark.parametrize("fault", [full, read_only, slow, cut_off, restart], ids=lambda fault: fault.__name__)
def test_a_redis_that_is_ill_for_a_while_costs_time_only(tmp_path: Path, fault: Callable[[RedisServer], None]) -> None:
    source = make_files(tmp_path / "files", 15)
    with (
        RedisServer(tmp_path / "redis", "--appendfsync", "always") as server,
        Sandbox("--run-seconds", "1", "--limit", PACE) as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=server.url, **SETTINGS) as paceline,
        worker_by_hand(paceline),
    ):
        assert paceline("submit", "files", *RUN).code == 0
        sandbox.wait("accepted", count=3, timeout=60)
        fault(server)
        wait_for(lambda: complete(paceline), "the end", timeout_s=180)
        check_output(source, tmp_path / "out", 15)
        assert Counter(accepted(sandbox).values()) == {1: 15}
        assert sandbox.stats()["classes"]["add"]["refused_429"] == 0


def older(saved: Path, live: Path) -> None:
    shutil.rmtree(live)
    shutil.copytree(saved, live)


def cut(_saved: Path, live: Path) -> None:
    (newest,) = live.glob("*.incr.aof")
    with newest.open("r+b") as stream:
        stream.truncate(newest.stat().st_size * 2 // 3 - 7)


@pytest.mark.parametrize("harm", [older, cut], ids=lambda harm: harm.__name__)
def test_an_older_or_cut_file_of_the_embedded_server_is_noticed(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    """The spool of this machine knows every request that the file forgot."""
    source = make_files(tmp_path / "files", 12)
    with (
        Sandbox("--run-seconds", "1", "--limit", PACE) as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="10/3s") as paceline,
    ):
        live = paceline.home / "redis" / "appendonlydir"
        process = paceline.start("run", "files", *RUN)
        sandbox.wait("accepted", count=2, timeout=60)
        shutil.copytree(live, tmp_path / "saved")
        sandbox.wait("accepted", count=8, timeout=60)
        paceline.kill_everything(process)
        harm(tmp_path / "saved", live)
        result = paceline("run", "files", *RUN, timeout_s=240)
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 12)
        assert Counter(accepted(sandbox).values()) == {1: 12}


def test_an_older_file_of_another_machines_redis_is_noticed(tmp_path: Path) -> None:
    """Nobody's spool knows what was sent; that another server has taken over is enough to ask first."""
    source = make_files(tmp_path / "files", 12)
    with (
        RedisServer(tmp_path / "redis") as server,
        Sandbox("--run-seconds", "1", "--limit", PACE) as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=server.url, **SETTINGS) as paceline,
    ):
        live = tmp_path / "redis" / "appendonlydir"
        with worker_by_hand(paceline):
            assert paceline("submit", "files", *RUN).code == 0
            sandbox.wait("accepted", count=2, timeout=60)
            shutil.copytree(live, tmp_path / "saved")
            sandbox.wait("accepted", count=8, timeout=60)
        server.kill()
        older(tmp_path / "saved", live)
        shutil.rmtree(paceline.home / "spool")
        server.start()
        with worker_by_hand(paceline):
            wait_for(lambda: complete(paceline), "the end", timeout_s=240)
        check_output(source, tmp_path / "out", 12)
        assert Counter(accepted(sandbox).values()) == {1: 12}
        journals = [verbs(paceline, record["submission"]) for record in read_lines(tmp_path / "out" / "results.jsonl")]
        assert any("doubt" in one for one in journals)

"""`up`, `down`, `submit`, `pause`: work that goes on without a command in the foreground, and stops without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Paceline, Result, make_files, processes_of, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import free_port, redis_server

RUN = ("files", "--agent", "kolena:1", "--files-per-run", "2")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("--run-seconds", "0.2") as running:
        yield running


@pytest.fixture
def paceline(tmp_path: Path, sandbox: Sandbox) -> Iterator[Paceline]:
    sandbox.reset()
    sandbox.run_seconds("0.2")
    make_files(tmp_path / "files", 8)
    with Paceline(tmp_path, url=sandbox.url) as ready:
        yield ready
    assert processes_of(tmp_path / "home") == []


def succeeded(result: Result) -> Result:
    assert result.code == 0, result.stderr
    return result


def each_once(sandbox: Sandbox, submissions: int) -> bool:
    accepted = Counter(entry["external_id"] for entry in sandbox.log(request_class="add") if entry["run_id"])
    return sorted(accepted.values()) == [1] * submissions


def test_a_run_uses_what_up_started_and_leaves_it(paceline: Paceline, sandbox: Sandbox) -> None:
    succeeded(paceline("up"))
    workers = paceline.pids("worker")
    assert "already" in succeeded(paceline("up")).stderr
    succeeded(paceline("run", *RUN, "--to", "out"))
    assert paceline.pids("worker") == workers
    assert each_once(sandbox, 4)
    stopped = succeeded(paceline("down"))
    for pid in workers:
        assert str(pid) in stopped.stderr
    assert processes_of(paceline.home) == []
    assert "Nothing runs" in succeeded(paceline("down")).stderr


def test_submit_returns_while_the_batch_goes_on_by_itself(paceline: Paceline, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.run_seconds("600")
    result = succeeded(paceline("submit", *RUN, "--to", "out"))
    batch = result.stdout.strip()
    assert "paceline down" in result.stderr
    sandbox.wait("accepted", count=4)
    assert paceline.here("status", batch).code == 3
    again = succeeded(paceline("submit", *RUN, "--to", "out", "--json"))
    assert again.json()["batch"] == batch
    sandbox.finish()
    watched = succeeded(paceline.here("status", batch, "--watch", "--json"))
    last = json.loads(watched.stdout.splitlines()[-1])
    assert (last["batch"], last["state"]) == (batch, "complete")
    assert (tmp_path / "out" / "_SUCCESS").exists()
    assert each_once(sandbox, 4)


def test_submit_warns_where_no_worker_reads_the_queue(paceline: Paceline, sandbox: Sandbox, tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as url:
        paceline.environment["PACELINE_REDIS_URL"] = url
        result = succeeded(paceline("submit", *RUN, "--to", "out"))
        assert "submit.kolena" in result.stderr
        assert sandbox.log(request_class="add") == []
        status = paceline.here("status", result.stdout.strip())
        assert status.code == 3
        assert "no live worker" in status.stdout


def test_a_killed_supervisor_leaves_nothing(paceline: Paceline) -> None:
    succeeded(paceline("up", "--workers", "2"))
    assert len(paceline.pids("worker")) == 3
    os.kill(paceline.pids("supervisor")[0], signal.SIGKILL)
    wait_for(lambda: processes_of(paceline.home) == [], "the end of all its processes")


def test_what_dies_under_a_supervisor_comes_back(paceline: Paceline, sandbox: Sandbox) -> None:
    sandbox.run_seconds("600")
    succeeded(paceline("submit", *RUN, "--to", "out"))
    sandbox.wait("accepted", count=4)
    (redis,), worker = paceline.pids("redis"), paceline.pids("worker-2")[0]
    os.kill(redis, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    sandbox.finish()
    wait_for(lambda: paceline.pids("redis") not in ([], [redis]), "another Redis")
    wait_for(lambda: paceline.pids("worker-2") not in ([], [worker]), "another worker")
    succeeded(paceline.here("status", "--watch"))
    assert each_once(sandbox, 4)


def test_down_detaches_a_run_and_leaves_nothing(paceline: Paceline, sandbox: Sandbox) -> None:
    sandbox.run_seconds("600")
    running = paceline.start("run", *RUN, "--to", "out")
    sandbox.wait("accepted", count=4)
    succeeded(paceline("down"))
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert "Come back with" in err
    assert processes_of(paceline.home) == []
    sandbox.finish()
    succeeded(paceline("run", *RUN, "--to", "out"))
    assert each_once(sandbox, 4)


def test_a_paused_batch_sends_nothing_until_it_is_resumed(paceline: Paceline, sandbox: Sandbox, tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as url:
        paceline.environment["PACELINE_REDIS_URL"] = url
        batch = succeeded(paceline("submit", *RUN, "--to", "out")).stdout.strip()
        succeeded(paceline.here("pause", batch, "--reason", "waiting for the invoices"))
        assert "already" in succeeded(paceline.here("pause", batch, "--reason", "another")).stderr
        succeeded(paceline("up"))
        status = paceline.here("status", batch)
        assert status.code == 3
        assert "waiting for the invoices" in status.stdout
        assert f"paceline resume {batch}" in status.stdout
        assert paceline.here("status", batch, "--json").json()["state"] == "paused"
        assert sandbox.log(request_class="add") == []
        succeeded(paceline.here("resume", batch))
        succeeded(paceline.here("status", batch, "--watch"))
        assert each_once(sandbox, 4)
        assert "wasn't paused" in succeeded(paceline.here("resume", "--account", "kolena")).stderr
        succeeded(paceline("down"))


def test_a_file_named_like_a_module_of_ours_is_never_imported(paceline: Paceline, tmp_path: Path) -> None:
    for name in ("celery", "redis", "json", "cli", "worker"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the present folder')")
    succeeded(paceline("up"))


def test_up_without_a_key_starts_nothing(paceline: Paceline) -> None:
    result = paceline("up", extra={"KOLENA_API_KEY": ""})
    assert result.code == 6
    assert "KOLENA_API_KEY" in result.stderr
    assert processes_of(paceline.home) == []


def test_flower_answers_on_this_machine(paceline: Paceline) -> None:
    port = free_port()
    flower = paceline.start("flower", "--port", str(port))
    assert _answer(port, flower) == b"OK"
    second = paceline("flower", "--port", str(port))
    assert second.code == 6
    assert str(port) in second.stderr
    assert paceline.interrupt(flower).code == 0
    assert paceline("flower", "--address", "0.0.0.0").code == 6  # noqa: S104  # the very thing that is refused


def _answer(port: int, process: subprocess.Popen[str]) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> bytes:
        assert process.poll() is None, process.communicate()[1]
        try:
            with opener.open(f"http://127.0.0.1:{port}/healthcheck") as answer:
                found: bytes = answer.read()
                return found
        except OSError:
            return b""

    found: bytes = wait_for(ask, "an answer of Flower")
    return found

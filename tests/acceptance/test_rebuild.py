"""Redis is lost in mid-batch: the command says so, refuses to pay again, and goes on after `paceline rebuild OUT`."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from pathlib import Path

import redis

from config.embedded import EmbeddedServer
from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox

COMMAND = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")


def adds(sandbox: Sandbox) -> int:
    return len(sandbox.log(request_class="add"))


def refused_and_rebuilt(paceline: Paceline, sandbox: Sandbox) -> dict[str, int]:
    """Try the same command, which pays nothing; rebuild, which doesn't either. Return the counts of submissions."""
    before = adds(sandbox)
    again = paceline.here(*COMMAND)
    assert again.code == 2, again.stderr
    assert "paceline rebuild" in again.stderr
    found = paceline("rebuild", "out", "--json")
    assert found.code == 0, found.stderr
    assert adds(sandbox) == before
    counts: dict[str, int] = found.json()["submissions"]
    twice = paceline.here("rebuild", "out")
    assert twice.code == 2
    assert "paceline run" in twice.stderr
    return counts


def test_a_redis_that_is_emptied_in_mid_batch_costs_nothing_but_time(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 12)
    with (
        Sandbox("--run-seconds", "0.5", "--limit", "add=4/2s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="4/2s") as paceline,
    ):
        process = paceline.start(*COMMAND)
        wait_for(lambda: len(list(tmp_path.glob("out/parts/*.json"))) >= 2, "two results")
        watching = paceline.start("status", "--watch")
        assert watching.stderr is not None
        assert watching.stderr.readline()
        client = redis.Redis(unix_socket_path=str(EmbeddedServer(paceline.home).socket_path))
        client.flushall()
        client.close()
        for one in (process, watching):
            out, err = one.communicate(timeout=60)
            assert one.returncode == 6, out + err
            assert f"paceline rebuild {tmp_path / 'out'}" in err
            assert "Traceback" not in err

        counts = refused_and_rebuilt(paceline, sandbox)

        assert counts["total"] == 12
        assert counts["restored"] >= 2
        done = paceline(*COMMAND)
        assert done.code == 0, done.stderr
        check_output(source, tmp_path / "out", 12)
        assert Counter(accepted(sandbox).values()) == {1: 12}


def test_a_redis_whose_files_are_gone_is_rebuilt_and_so_is_a_complete_batch(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 12)
    with (
        Sandbox("--run-seconds", "0.5", "--limit", "add=4/2s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="4/2s") as paceline,
    ):
        process = paceline.start(*COMMAND)
        sandbox.wait("accepted", count=6, timeout=60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        paceline("down")
        shutil.rmtree(paceline.home / "redis")

        refused_and_rebuilt(paceline, sandbox)

        done = paceline(*COMMAND)
        assert done.code == 0, done.stderr
        check_output(source, tmp_path / "out", 12)
        assert Counter(accepted(sandbox).values()) == {1: 12}

        paceline("down")
        shutil.rmtree(paceline.home / "redis")
        before = len(sandbox.log())
        rebuilt = paceline.here("rebuild", "out")
        assert rebuilt.code == 0
        assert "12 with their records" in rebuilt.stdout
        complete = paceline.here(*COMMAND)
        assert complete.code == 0
        assert "complete already" in complete.stderr
        assert len(sandbox.log()) == before

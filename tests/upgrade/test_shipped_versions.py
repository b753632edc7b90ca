"""The shipped command of the released version and of this one, one after the other and side by side."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.acceptance.test_run import accepted, check_output
from tests.support.command import FAST, Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import redis_server
from tests.upgrade.released import unpack

RUN = ("files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
PACE = "5/1s"


NEWER = ("POLL_AGAIN", "POLL_REFUSED", "MESSAGE_WAIT")
"""Waiting times of `FAST` that the released version doesn't know, and would refuse."""


@pytest.fixture(autouse=True)
def only_settings_that_both_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what only this version can be told."""
    for name in NEWER:
        monkeypatch.delitem(FAST, f"PACELINE_{name}_SECONDS")


@contextmanager
def worker(paceline: Paceline, name: str, extra: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker by hand."""
    with (paceline.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.main", "worker", "--name", name],
            cwd=paceline.folder,
            env={**paceline.environment, **extra},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def signs(client: Any) -> list[str]:
    """Name the workers that are alive."""
    return [name.decode() for name in client.scan_iter("pl:worker:*")]


@pytest.mark.slow
def test_workers_are_replaced_one_by_one_in_mid_batch_and_no_upload_is_cut(tmp_path: Path) -> None:
    released = {"PYTHONPATH": str(unpack(tmp_path / "released"))}
    source = make_files(tmp_path / "files", 40)
    slow = ("--run-seconds", "1", "--limit", f"add={PACE}", "--fault", "delay@add:seconds=0.4")
    with (
        redis_server(tmp_path / "redis") as url,
        Sandbox(*slow) as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=url, accounts__kolena__limits__add=PACE) as paceline,
        redis.Redis.from_url(url) as client,
        worker(paceline, "old", released) as old,
    ):
        wait_for(lambda: signs(client), "the old worker")
        planned = paceline("submit", *RUN, extra=released)
        assert planned.code == 0, planned.stderr
        sandbox.wait("accepted", count=4, timeout=60)
        with worker(paceline, "new", {}) as new:
            wait_for(lambda: any(f":{new.pid}@" in name for name in signs(client)), "the new worker")
            sandbox.wait("accepted", count=12, timeout=60)  # side by side
            old.send_signal(signal.SIGTERM)
            assert old.wait(60) == 0
            wait_for(lambda: (tmp_path / "out" / "_SUCCESS").exists(), "the end", timeout_s=120)
        check_output(source, tmp_path / "out", 40)
        assert Counter(accepted(sandbox).values()) == {1: 40}
        assert len(sandbox.log(request_class="add")) == 40  # none was cut off and sent again
        for name in ("old", "new"):
            assert "submission.accepted" in (tmp_path / f"{name}.log").read_text()


@pytest.mark.slow
def test_a_home_that_the_released_version_left_in_mid_batch_is_taken_up(tmp_path: Path) -> None:
    released = {"PYTHONPATH": str(unpack(tmp_path / "released"))}
    source = make_files(tmp_path / "files", 24)
    with (
        Sandbox("--run-seconds", "1", "--limit", f"add={PACE}") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add=PACE) as paceline,
    ):
        process = paceline.start("run", *RUN, extra=released)
        sandbox.wait("accepted", count=9, timeout=60)
        paceline.kill_everything(process)
        result = paceline("run", *RUN)
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 24)
        assert Counter(accepted(sandbox).values()) == {1: 24}
        verified = paceline("verify", "out")
        assert verified.code == 0, verified.stdout

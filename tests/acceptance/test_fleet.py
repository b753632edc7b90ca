"""The same code around one configured Redis, with workers started by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import redis_server

ROOT = Path(__file__).resolve().parents[2]


def test_a_configured_redis_and_a_plain_celery_worker_carry_a_batch(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 12)
    with (
        redis_server(tmp_path / "redis") as url,
        Sandbox("--run-seconds", "0.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=url) as paceline,
    ):
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--loglevel", "INFO"],
            cwd=ROOT,
            env=paceline.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        by_hand = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "worker", "--role", "upload"],
            cwd=tmp_path,
            env=paceline.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            client = redis.Redis.from_url(url)
            wait_for(lambda: len(list(client.scan_iter("pl:worker:*"))) == 2, "two workers")
            result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2")
            assert result.code == 0, result.stderr
            check_output(source, tmp_path / "out", 6)
            assert set(accepted(sandbox).values()) == {1}
            assert paceline.pids("worker") == []
            assert not (paceline.home / "redis").exists()
            check_result_backend(url, paceline, sorted(accepted(sandbox)))
        finally:
            for process in (worker, by_hand):
                process.terminate()
                process.wait(60)


def check_result_backend(url: str, paceline: Paceline, external_ids: list[str]) -> None:
    """Any Celery client finds what a run returned under the submission's id."""
    client = Celery("anybody", broker=url, backend=url)
    for external in external_ids:
        submission = external.partition(".")[2]
        record = client.AsyncResult(submission).get(timeout=10)
        assert record["submission"] == submission
        assert record["outcome"] == "succeeded"
        assert record["data"]["Inventory"]["value"]
        stored = redis.Redis.from_url(url)
        raw: Any = stored.get(f"celery-task-meta-{submission}")
        assert not raw.startswith(b"{")  # compressed
        ttl: Any = stored.ttl(f"celery-task-meta-{submission}")
        assert ttl > 0


def test_without_workers_by_hand_the_command_brings_its_own(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 6)
    with (
        redis_server(tmp_path / "redis") as url,
        Sandbox("--run-seconds", "0.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=url) as paceline,
    ):
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "2")
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 3)


def test_two_commands_of_the_same_batch_at_once_pay_once(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 12)
    with (
        Sandbox("--run-seconds", "1", "--limit", "add=10/3s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="10/3s") as paceline,
    ):
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        both = [paceline.start(*command) for _ in range(2)]
        for process in both:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, out + err
        check_output(source, tmp_path / "out", 12)
        assert Counter(accepted(sandbox).values()) == {1: 12}


def test_when_the_owner_of_the_fleet_goes_another_command_takes_over(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 24)
    with (
        Sandbox("--run-seconds", "1", "--limit", "add=10/3s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, accounts__kolena__limits__add="10/3s") as paceline,
    ):
        command = ("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        first = paceline.start(*command)
        sandbox.wait("accepted", count=2, timeout=60)
        second = paceline.start(*command)
        sandbox.wait("accepted", count=12, timeout=60)
        os.kill(first.pid, 9)
        out, err = second.communicate(timeout=120)
        assert second.returncode == 0, out + err
        check_output(source, tmp_path / "out", 24)
        assert Counter(accepted(sandbox).values()) == {1: 24}

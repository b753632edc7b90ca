"""`paceline alive` says yes to what lives here, and to nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.alive import command
from config.services import worker_name
from paceline import redis_keys as keys
from paceline.clocks import machine_id
from paceline.schedules.beats import note_beat
from paceline.views import Views
from tests.support.server import free_port

pytestmark = pytest.mark.skipif(not machine_id(), reason="this system doesn't tell process namespaces apart")


@pytest.fixture
def ask(server: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACELINE_REDIS_URL", f"unix://{server}")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(command, arguments, standalone_mode=False)

    return run


def give_sign(redis: Any, name: str) -> None:
    """Leave what `worker.rescue` leaves."""
    now_ms = int(redis.time()[0]) * 1000
    redis.set(keys.worker(name), json.dumps({"worker": name, "queues": [], "addresses": {}}), ex=15)
    redis.zadd(keys.WORKERS, {name: now_ms + 15_000})


def test_a_worker_of_this_machine_with_a_sign_is_alive(real_redis: Any, ask: Any) -> None:
    give_sign(real_redis, worker_name())

    result = ask("worker")

    assert (result.return_value, result.output) == (0, f"alive: {worker_name()}\n")


def test_a_beat_is_alive_by_its_own_sign_and_not_by_a_workers(real_redis: Any, ask: Any) -> None:
    give_sign(real_redis, worker_name())
    assert ask("beat").return_value == 1

    note_beat(real_redis, worker_name().replace(f"@{machine_id()}", "@0badcafe"), Views(real_redis).now_ms(), 15)
    assert ask("beat").return_value == 1

    note_beat(real_redis, worker_name(), Views(real_redis).now_ms(), 15)
    assert ask("beat").return_value == 0


def test_no_sign_is_no_life(real_redis: Any, ask: Any) -> None:
    result = ask("worker")

    assert result.return_value == 1
    assert "no worker of this machine" in result.output


def test_a_worker_of_another_container_does_not_count(real_redis: Any, ask: Any) -> None:
    give_sign(real_redis, worker_name().replace(f"@{machine_id()}", "@0badcafe"))

    assert ask("worker").return_value == 1


def test_a_worker_that_was_killed_does_not_count_though_its_sign_stands(real_redis: Any, ask: Any) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    give_sign(real_redis, worker_name(process.pid))
    assert ask("worker").return_value == 0

    process.kill()
    process.wait()

    assert ask("worker").return_value == 1


def test_without_redis_nothing_is_known(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACELINE_REDIS_URL", f"redis://127.0.0.1:{free_port()}")

    assert ask("worker").return_value == 1
    spared = ask("worker", "--redis-may-be-away")
    assert spared.return_value == 0
    assert "Redis can't be asked" in spared.output


def test_wrong_settings_are_said_in_one_line(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACELINE_WORKRES", "2")

    result = ask("worker")

    assert result.return_value == 1
    assert "did you mean PACELINE_WORKERS?" in result.output


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthcheck" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def page() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Page) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served.server_port
        served.shutdown()
        thread.join()


def test_flower_is_alive_if_it_answers(page: int) -> None:
    result = CliRunner().invoke(command, ["flower", "--port", str(page)], standalone_mode=False)

    assert (result.return_value, result.output) == (0, f"Flower answers on port {page} (200)\n")


def test_flower_is_not_alive_if_nobody_listens() -> None:
    result = CliRunner().invoke(command, ["flower", "--port", str(free_port())], standalone_mode=False)

    assert result.return_value == 1
    assert "ConnectionRefusedError" in result.output


def test_the_shipped_command_tells_it_by_its_exit_code(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PACELINE_")}
    asked = [sys.executable, "-P", "-m", "cli.main", "alive", "flower", "--port", str(free_port())]

    done = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (1, "")

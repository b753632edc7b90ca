"""What docker-compose.yml starts, started as plain processes, carries a batch.

Each service runs its exact command with its exact environment; only the containers' paths, hosts and ports are replaced
by this test's own. What that doesn't show is what Docker adds: the image, users, the read-only root, networks.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from config.server_binary import find_server
from tests.deploy.compose import ROOT, read, services
from tests.support.command import FAST, make_files, read_lines, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux")

_PING = """
import socket, sys
with socket.create_connection(("127.0.0.1", {port}), timeout=3) as peer:
    peer.sendall(b"PING\\r\\n")
    print(peer.recv(100).decode().strip().removeprefix("+"))
"""
"""Stands for valkey-cli, which doesn't come with the server's package."""


@dataclass
class Fleet:
    """The services as processes, beneath one folder."""

    folder: Path
    url: str
    redis_port: int = field(default_factory=free_port)
    flower_port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("data", "home", "files", "results", "secrets", "bin"):
            (self.folder / name).mkdir()
        self.write("secrets/kolena_api_key", "canary-key-5d1f0c\n")
        self.write("secrets/flower_login", "admin:long-enough\n")
        settings = "\n".join(f'{name.removeprefix("PACELINE_").lower()} = "{value}"' for name, value in FAST.items())
        self.write("paceline.toml", re.sub(r'"([\d.]+)"', r"\1", settings))
        paceline = Path(sys.executable).with_name("paceline")
        self.write("bin/paceline", f'#!/bin/sh\nexec {shlex.quote(str(paceline))} "$@"\n', 0o700)
        self.write("bin/valkey-server", f'#!/bin/sh\nexec {find_server()[0]} "$@" --port {self.redis_port}\n', 0o700)
        self.write("bin/valkey-cli", f"#!{sys.executable}\n{_PING.format(port=self.redis_port)}", 0o700)

    def write(self, name: str, text: str, mode: int = 0o600) -> None:
        (self.folder / name).write_text(text, "utf-8")
        (self.folder / name).chmod(mode)

    def placed(self, text: str) -> str:
        """Put this test's places in place of the containers'."""
        for theirs, ours in {
            "/run/secrets/": f"{self.folder}/secrets/",
            "/etc/paceline.toml": f"{self.folder}/paceline.toml",
            "/var/lib/paceline": f"{self.folder}/home",
            "//redis:6379": f"//127.0.0.1:{self.redis_port}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104  # replaced
            "https://agents-api.kolena.com": self.url,
        }.items():
            text = text.replace(theirs, ours)
        return str(self.flower_port) if text == "5555" else text

    def environment(self, name: str) -> dict[str, str]:
        """Return all that a service's container has: nothing of this process's but where programs are."""
        own = {key: self.placed(value) for key, value in services()[name].environment.items()}
        return {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder), **own}

    def start(self, name: str) -> None:
        service = services()[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [self.placed(word) for word in service.command],
                cwd=self.folder / "data",
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o022,
            )

    def run(self, name: str, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's place, as `docker compose exec` does."""
        words = [self.placed(word) for word in command]
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment(name),
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def healthy(self, name: str) -> bool:
        done = self.run(name, services()[name].healthcheck)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 0

    def start_all(self) -> None:
        """Start each service when those it depends on are healthy, as compose does, and wait until all of them are."""
        waiting = dict(services())
        while waiting:
            name = next(one for one in waiting if not set(waiting[one].raw.get("depends_on", ())) & set(waiting))
            for needed in waiting.pop(name).raw.get("depends_on", ()):
                self.until_healthy(needed)
            self.start(name)
        for name in self.running:
            self.until_healthy(name)

    def until_healthy(self, name: str) -> None:
        def well() -> bool:
            assert self.running[name].poll() is None, self.log(name)
            return self.healthy(name)

        wait_for(well, f"the health of {name}")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def stop(self) -> None:
        for process in reversed(self.running.values()):
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def fleet(folder: Path) -> Iterator[tuple[Fleet, Sandbox]]:
    with Sandbox("--run-seconds", "0.2") as sandbox:
        made = Fleet(folder, sandbox.url)
        try:
            yield made, sandbox
        finally:
            made.stop()


def asked(url: str, headers: Mapping[str, str] | None = None) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=20) as answer:  # noqa: S310  # ours
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
def test_the_services_carry_a_batch_and_notice_a_dead_worker(tmp_path: Path) -> None:
    with fleet(tmp_path) as (made, sandbox):
        make_files(tmp_path / "files", 6)
        made.start_all()

        submit = ("paceline", "submit", str(tmp_path / "files"), "--agent", "kolena:1", "--files-per-run", "2")
        done = made.run("worker", (*submit, "--to", str(tmp_path / "results" / "out")))
        assert done.returncode == 0, done.stderr
        out = tmp_path / "results" / "out"
        wait_for((out / "_SUCCESS").exists, "the end of the batch")
        assert [record["outcome"] for record in read_lines(out / "results.jsonl")] == ["succeeded"] * 3
        assert sandbox.stats()["runs"]["accepted"] == 3

        doctor = made.run("worker", ("paceline", "doctor"))
        assert doctor.returncode == 0, doctor.stdout + doctor.stderr
        assert "key in KOLENA_API_KEY_FILE" in doctor.stdout

        check_flower(made)
        check_redis(made)
        check_deaths(made)
        assert "canary-key-5d1f0c" not in "".join(made.log(name) for name in made.running)
        assert "long-enough" not in "".join(made.log(name) for name in made.running)


def check_flower(made: Fleet) -> None:
    """Flower wants the login of its file from whoever asks for more than its health."""
    page = f"http://127.0.0.1:{made.flower_port}"
    login = {"Authorization": "Basic YWRtaW46bG9uZy1lbm91Z2g="}
    assert asked(f"{page}/workers") == 401
    assert asked(f"{page}/workers", login) == 200


def check_redis(made: Fleet) -> None:
    """The server loses nothing: what doctor would complain about, asked of the server itself."""
    client: Any = redis.Redis(port=made.redis_port)
    config = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
    assert config == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    assert (made.folder / "data" / "appendonlydir").is_dir()
    client.close()


def check_deaths(made: Fleet) -> None:
    """Each part's health check notices its end, and only its own."""
    made.running["worker"].send_signal(signal.SIGKILL)
    made.running["worker"].wait()
    assert not made.healthy("worker")
    assert made.healthy("flower")
    assert made.healthy("beat")
    made.running["beat"].send_signal(signal.SIGKILL)
    made.running["beat"].wait()
    assert not made.healthy("beat")
    made.running["flower"].terminate()
    made.running["flower"].wait(30)
    assert not made.healthy("flower")
    made.running["redis"].terminate()
    made.running["redis"].wait(30)
    assert not made.healthy("redis")


def test_the_file_for_a_password_makes_valkey_want_one(tmp_path: Path) -> None:
    made = Fleet(tmp_path, "")
    made.write("secrets/redis_conf", "requirepass fleet-password\n")
    command = read(ROOT / "deploy" / "compose.password.yml")["services"]["redis"]["command"]
    words = [made.placed(word) for word in command]
    process = subprocess.Popen(
        words, cwd=tmp_path / "data", env=made.environment("redis"), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: "NOAUTH" in made.run("redis", ("valkey-cli",)).stdout, "a server that wants a password")
        client: Any = redis.Redis(port=made.redis_port, password="fleet-password")
        assert client.ping()
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        client.close()
    finally:
        process.kill()
        process.wait()

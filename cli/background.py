"""Start the fleet in the background and wait until it works."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cli.fleet import BEAT
from cli.nights import check_night
from config.embedded import EmbeddedServer
from config.leftovers import leftovers
from config.logs import printable
from config.queues import queue_names
from config.schema import Settings
from config.services import open_services, worker_name
from paceline.durable import private_dir
from paceline.errors import ConfigError, CredentialsError

if TYPE_CHECKING:
    from paceline.views import Views

SUPERVISOR = "supervisor"

READY_S = 60.0
"""For all workers to give a sign of life; a second or two on an idle machine."""

LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Background:
    """What runs: `new` is False where it ran before; `workers` are the pids by name, `beat` is that of the beat."""

    new: bool
    supervisor: int
    workers: dict[str, int]
    beat: int | None = None


def supervisor_of(home: Path) -> int | None:
    """Return the process id of a home's supervisor, None where none runs."""
    return next((one.pid for one in leftovers(home) if one.name == SUPERVISOR), None)


def start_background(settings: Settings, workers: int | None = None) -> Background:
    """Start the supervisor unless it runs; return when every queue of every account has a worker that is alive.

    `workers` stands for the setting where it is not None, and is of no effect where a supervisor runs. Raises
    `CredentialsError` where no account has a key, `ConfigError` where the start fails.
    """
    check_keys(settings)
    for schedule in settings.schedules.values():
        check_night(settings, schedule, datetime.now(UTC))
    before = supervisor_of(settings.home)
    process = None if before is not None else _spawn(settings, workers)
    _await_workers(settings, process)
    pid = supervisor_of(settings.home)
    if pid is None:
        raise _failure(settings, None)
    running = {one.name: one.pid for one in leftovers(settings.home) if one.name.startswith("worker-")}
    beat = next((one.pid for one in leftovers(settings.home) if one.name == BEAT), None)
    return Background(before is None, pid, running, beat)


def check_keys(settings: Settings) -> None:
    """Raise `CredentialsError` unless some account has its key in this process's environment: workers inherit it."""
    if not settings.accounts:
        raise CredentialsError("no account: set one's key with: export KOLENA_API_KEY=…")
    problem: CredentialsError | None = None
    for account in settings.accounts.values():
        try:
            account.key()
        except CredentialsError as error:
            problem = problem or error
        else:
            return
    assert problem is not None
    raise problem


def log_path(home: Path) -> Path:
    """Name the supervisor's log."""
    return home / "log" / f"{SUPERVISOR}.log"


def _spawn(settings: Settings, workers: int | None) -> subprocess.Popen[bytes]:
    path = log_path(settings.home)
    try:
        private_dir(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path} can't be written ({error.strerror}); set PACELINE_HOME") from error
    environment = {**os.environ, "PACELINE_HOME": str(settings.home)}
    if workers is not None:
        environment["PACELINE_WORKERS"] = str(workers)
    with open(descriptor, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # it outlives the terminal
        )


def _await_workers(settings: Settings, process: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + READY_S
    server = EmbeddedServer(settings.home) if settings.redis_url is None else None
    services = None
    while True:
        if services is None and (server is None or server.running()):
            services = open_services(settings)
        if services is not None and _working(settings, services.views):
            services.redis.close()
            return
        if process is not None and process.poll():
            raise _failure(settings, process.returncode)
        if time.monotonic() > deadline:
            raise ConfigError(f"the workers don't get ready in {READY_S:g} s; see {settings.home / 'log'}")
        time.sleep(LOOK_S)


def _working(settings: Settings, views: Views) -> bool:
    """Tell whether every worker of this home is alive and every queue is read by one.

    A sign of life alone proves nothing: it outlives a killed worker by some seconds.
    """
    from redis.exceptions import RedisError

    ours = {worker_name(one.pid) for one in leftovers(settings.home) if one.name.startswith("worker-")}
    try:
        signs = {str(sign.get("worker")): sign for sign in views.workers()}
    except RedisError:
        return False  # it is just starting, or the supervisor says what is wrong
    if not ours or not ours <= set(signs) or supervisor_of(settings.home) is None:
        return False
    read: set[object] = set()
    for worker in ours:
        queues = signs[worker].get("queues")
        read |= set(queues) if isinstance(queues, list) else set()
    return set(queue_names(settings.accounts)) <= read


def _failure(settings: Settings, code: int | None) -> ConfigError:
    path = log_path(settings.home)
    with open(path, "rb") as log:
        log.seek(max(path.stat().st_size - 4000, 0))
        lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    words = printable(lines[-1])[:300] if lines else "it said nothing"
    ended = "" if code is None else f" ({code})"
    return ConfigError(f"the background supervisor ended{ended}: {words}; see {path}")

"""Starts what a batch needs to move, Redis and workers, and keeps it alive for as long as its owner lives.

The owner is the command that got the fleet's lock first; others only use what is there, and take over when the owner
goes. Workers hold one end of a pipe whose other end only the owner has: when it dies, however it dies, they stop.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from config.embedded import EmbeddedServer
from config.leftovers import remove_pid, write_pid
from config.queues import CONTROL_QUEUE, EXPORT_QUEUE, submit_queue
from config.schema import Settings
from config.services import Services, is_gone, worker_name
from paceline.durable import private_dir
from paceline.errors import ConfigError
from paceline.model import Follow
from paceline.steps.rescuing import worker_died

STOP_S = 30.0
"""For workers to finish the uploads under way; what takes longer is reconciled by the next command."""

BEAT = "beat"
"""The name of the process that sends ticks, of its pid file and its log."""

RESTARTS_A_MINUTE = 5
"""A worker that dies more often than this isn't started again: something is wrong that a person must see."""


def start_redis(settings: Settings) -> EmbeddedServer | None:
    """Start (or join) the embedded server; None where one is configured. Raises `ConfigError`."""
    if settings.redis_url is not None:
        return None
    server = EmbeddedServer(settings.home)
    server.start()
    return server


@dataclass
class _Worker:
    name: str
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes]
    deaths: list[float] = field(default_factory=list)


class Fleet:
    """The workers of one `home`. Use from one thread; `tick()` every second or so.

    A `standing` fleet starts its workers even where those of another machine serve every queue already, and a beat
    where there are schedules.
    """

    def __init__(
        self, settings: Settings, services: Services, *, accounts: tuple[str, ...], standing: bool = False
    ) -> None:
        self._settings = settings
        self._services = services
        self._accounts = accounts
        self._standing = standing
        self._lock: int | None = None
        self._pipe: tuple[int, int] | None = None
        self._workers: list[_Worker] = []
        self._checked_at = 0.0
        self.dead: list[str] = []

    @property
    def owned(self) -> bool:
        """True if this process supervises the workers."""
        return bool(self._workers)

    def tick(self) -> None:
        """Start workers if nobody else does, restart those that died. Raises `ConfigError` for one that keeps dying."""
        if not self._workers:
            if time.monotonic() - self._checked_at > 1.0:
                self._checked_at = time.monotonic()
                if (self._standing or not self._served()) and self._try_lock():
                    self._start()
            return
        for worker in self._workers:
            if worker.process.poll() is not None:
                self._restart(worker)

    def report_deaths(self, send: Callable[[Iterable[Follow]], None]) -> None:
        """Take what dead workers were sending for uncertain, and send the messages that follow.

        One that fails, for want of Redis, is tried again by the next call.
        """
        while self.dead:
            services = self._services
            settle_s = self._settings.settle_seconds
            send(worker_died(services.ledger, services.chains, services.views, self.dead[-1], settle_s))
            self.dead.pop()

    def _served(self) -> bool:
        """Tell whether live workers read every queue we need.

        On an embedded server the lock alone decides: signs of life outlive their worker by some seconds.
        """
        if self._settings.redis_url is None:
            return False
        wanted = {CONTROL_QUEUE, EXPORT_QUEUE, *(submit_queue(account) for account in self._accounts)}
        return wanted <= self._services.views.queues_read()

    def _try_lock(self) -> bool:
        path = self._settings.home / "run" / "fleet.lock"
        private_dir(path.parent)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _start(self) -> None:
        # What an earlier life of this fleet was sending needn't wait for its lease either.
        self.dead += sorted({worker for worker in self._services.views.busy_workers() if is_gone(worker)})
        self._pipe = os.pipe()
        for number in range(1, self._settings.workers + 1):
            self._add(f"worker-{number}", "upload", self._settings.upload_threads)
        self._add(f"worker-{self._settings.workers + 1}", "rest", self._settings.control_threads)
        if self._standing and self._settings.schedules:
            self._workers.append(_Worker(BEAT, ("beat",), self._spawn(BEAT, ("beat",))))

    def _add(self, name: str, role: str, threads: int) -> None:
        arguments = ("worker", "--role", role, "--threads", str(threads), "--name", name)
        self._workers.append(_Worker(name, arguments, self._spawn(name, arguments)))

    def _spawn(self, name: str, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        assert self._pipe is not None
        # -P: a file of the present folder named like a module of ours, `celery.py` say, must not be imported instead.
        command = [sys.executable, "-P", "-m", "cli.main", *arguments, "--owner-fd", str(self._pipe[0])]
        environment = {**os.environ, "PACELINE_HOME": str(self._settings.home)}
        with self._open_log(name) as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(self._pipe[0],),
                start_new_session=True,  # Ctrl-C is for the owner, who lets uploads finish
            )
        write_pid(self._settings.home, name, process.pid)
        return process

    def log_path(self, name: str) -> Path:
        """Name a worker's log file."""
        return self._settings.home / "log" / f"{name}.log"

    def _open_log(self, name: str) -> IO[bytes]:
        path = self.log_path(name)
        private_dir(path.parent)
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")

    def _restart(self, worker: _Worker) -> None:
        """Start a dead worker again. Its submissions needn't wait for their leases: the sender is surely gone."""
        self.dead.append(worker_name(worker.process.pid))
        now = time.monotonic()
        worker.deaths = [at for at in worker.deaths if now - at < 60] + [now]
        if len(worker.deaths) > RESTARTS_A_MINUTE:
            raise ConfigError(f"worker {worker.name} keeps ending; its last words are in {self.log_path(worker.name)}")
        worker.process = self._spawn(worker.name, worker.arguments)

    def kill(self) -> None:
        """End the workers at once, from another thread than the one in `stop`."""
        for worker in list(self._workers):
            if worker.process.poll() is None:
                worker.process.kill()

    def stop(self) -> None:
        """Stop the workers that this process started; uploads under way are finished."""
        deadline = time.monotonic() + STOP_S
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)
        for worker in self._workers:
            try:
                worker.process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            remove_pid(self._settings.home, worker.name, worker.process.pid)
        self._workers.clear()
        for descriptor in (*(self._pipe or ()), *([self._lock] if self._lock is not None else [])):
            os.close(descriptor)
        self._pipe = self._lock = None

"""Runs the embedded Redis: a real server under `home`, started by the first command, gone when nobody uses it.

    home/redis/            its append-only file, synced at every write
    home/run/redis.sock    its only way in (see `socket_path` for long paths)
    home/run/redis.pid     its process, removed when it ends
    home/run/redis.start   lock: one process starts at a time
    home/run/redis.users   lock, shared by all users; the watcher stops the server when nobody holds it
    home/run/redis.data    lock, held by the server itself for as long as it lives: two never write the same file
    home/log/redis.log

All locks are kernel locks: they end with their process, so nothing here has to be cleaned up after `kill -9`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from config import watcher
from config.server_binary import find_server
from paceline.durable import private_dir
from paceline.errors import ConfigError

LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel allows 107 on Linux, 103 on macOS."""

START_SECONDS = 30.0
"""For the server to open its socket. Loading a large file comes after that and is waited for without limit."""

GONE_SECONDS = 10.0
"""For a server that ends to let go of its data."""

STOP_SECONDS = 10.0
"""Between SIGTERM and SIGKILL."""

_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ")
"""All that the server inherits: the rest of the environment holds keys, and any process of this user can read it."""

_PROBE_SECONDS = 5.0
_POLL_SECONDS = 0.005

_REMEDIES = {
    r"no space left": "free some space",
    r"append.only|aof|bad file format|unexpected end of file": (
        "its append-only file can't be read; restore it from a backup, or move the folder away and start anew"
        " (paid runs stay at the provider)"
    ),
    r"rdb (format )?version": "the file was written by a newer server; put that one first in PATH",
    r"permission denied": "check who owns the folder",
}


class EmbeddedServer:
    """The server of one `home`, as one process sees it. Not thread-safe.

    Don't fork without exec while it is started: the child would hold the owner's pipe and keep the server alive.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.absolute()
        self.run_dir = self.home / "run"
        self.data_dir = self.home / "redis"
        self.log_path = self.home / "log" / "redis.log"
        self.pid_path = self.run_dir / "redis.pid"
        self._users: int | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def socket_path(self) -> Path:
        """The socket: `home/run/redis.sock`, or where that is too long, one in a private folder that `home` decides.

        The environment has no say in it: two commands must never think of two sockets for the same data.
        """
        path = self.run_dir / "redis.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        # A shared folder, hence the check of owner and mode in `_make_folders`.
        return Path(f"/tmp/paceline-{os.geteuid()}-{digest}/redis.sock")  # noqa: S108

    @property
    def owned(self) -> bool:
        """True if this process started the server, so that it ends with this process (or its last user)."""
        return self._watcher is not None and self._watcher.poll() is None

    def running(self) -> bool:
        """Ask the server whether it is ready for commands. Blocks for at most five seconds."""
        return self._ask() == "ready"

    def start(self) -> None:
        """Make the server run and become one of its users; returns when it takes commands.

        Uses a server that already listens. Calling it again does nothing. Raises `ConfigError` with the server's own
        last words where it doesn't start.
        """
        if self._users is not None and self.running():
            return
        self._make_folders()
        if self._users is None:
            # Blocks while a watcher is just stopping the server, so that nobody connects to one that is going away.
            self._users = _lock(self.run_dir / "redis.users", fcntl.LOCK_SH)
        try:
            starting = _lock(self.run_dir / "redis.start", fcntl.LOCK_EX)
            try:
                data = self._await_data()
                if data is not None:
                    try:
                        self._launch(data)
                    finally:
                        os.close(data)
                self._await_ready()
            finally:
                _unlock(starting)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop using the server. It ends if this process started it and nobody else uses it; blocks until it has.

        Calling it again does nothing. A server with other users goes on until the last of them is gone.
        """
        users, self._users = self._users, None
        process, self._watcher = self._watcher, None
        alone = users is not None and _try_lock(users, fcntl.LOCK_EX)
        _unlock(users)
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        if alone or process.poll() is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS * 2)

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _ask(self) -> str:
        """Return `ready`, `loading` or `silent` (nobody listens, or it doesn't answer)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PROBE_SECONDS)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
            except OSError:
                return "silent"
        return {b"+PONG": "ready", b"-LOAD": "loading"}.get(answer[:5], "silent")

    def _make_folders(self) -> None:
        try:
            private_dir(self.home)
            for folder in (self.run_dir, self.data_dir, self.log_path.parent):
                private_dir(folder)
                folder.chmod(0o700)
            shelter = self.socket_path.parent
            shelter.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{error.filename} can't be made ({error.strerror}); set PACELINE_HOME") from error
        found = shelter.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ConfigError(
                f"{shelter} isn't a private folder of yours; remove it, or set PACELINE_HOME to a shorter path"
            )

    def _await_data(self) -> int | None:
        """Return the lock on the data, to start a server with; None if one listens.

        A server that has just crashed or is just ending keeps the lock a moment longer than its socket.
        """
        deadline = time.monotonic() + GONE_SECONDS
        while self._ask() == "silent":
            data = _lock(self.run_dir / "redis.data", fcntl.LOCK_EX | fcntl.LOCK_NB)
            if data is not None:
                return data
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"a server holds {self.data_dir} but doesn't answer on {self.socket_path}; run: paceline down"
                )
            time.sleep(_POLL_SECONDS)
        return None

    def _launch(self, data: int) -> None:
        binary, version = find_server()
        self.pid_path.unlink(missing_ok=True)
        with open(os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._log_start = log.tell()
            self._watcher = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", watcher.__file__),
                    *(str(self.run_dir / "redis.users"), str(STOP_SECONDS)),
                    *(str(binary), *self._options(version)),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches workers, which still need the server
                pass_fds=(data,),
                umask=0o077,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            )

    def _options(self, version: tuple[int, int]) -> list[str]:
        small = "hash-max-listpack-value" if version >= (7, 0) else "hash-max-ziplist-value"
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "600",
            "daemonize": "no",
            "supervised": "no",
            "pidfile": str(self.pid_path),
            "logfile": str(self.log_path),
            "dir": str(self.data_dir),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            small: "256",  # a submission's hash stays compact with paths and error texts in it
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (answer := self._ask()) != "ready":
            if self._watcher is not None and self._watcher.poll() is not None:
                raise self._failure()
            if answer == "silent" and time.monotonic() > deadline:
                raise ConfigError(f"the embedded Redis doesn't answer after {START_SECONDS:g} s; see {self.log_path}")
            time.sleep(_POLL_SECONDS)

    def _failure(self) -> ConfigError:
        """Build the error for a server that ended while it was starting, from what it logged meanwhile."""
        with open(self.log_path, "rb") as log:
            log.seek(self._log_start)
            lines = log.read(100_000).decode("utf-8", "replace").splitlines()
        # A line is `PID:ROLE TIME LEVEL TEXT`, with level # for warnings; what isn't the server's own has no such head.
        head = re.compile(r"^\d+:\w .*? ([.*#-]) ")
        said = [(head.match(line), line) for line in lines if line.strip()]
        grave = [head.sub("", line) for found, line in said if found is None or found[1] == "#"][-3:]
        words = "".join(c for c in (grave[-1] if grave else "it said nothing") if c.isprintable())[:200]
        remedy = next((remedy for sign, remedy in _REMEDIES.items() if re.search(sign, "\n".join(grave), re.I)), None)
        hint = f"; {remedy}" if remedy else ""
        return ConfigError(f"the embedded Redis in {self.data_dir} didn't start: {words}{hint}; see {self.log_path}")


def _try_lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _lock(path: Path, how: int) -> int | None:
    """Lock a file and return its descriptor, or None where `how` says not to wait and someone else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor

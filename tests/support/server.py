"""A Redis server of the tests' own, on a TCP port, as an operator would run it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import redis

from config.server_binary import find_server


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A server with an append-only file that can be killed and started again; `with` it.

    `within` is a command that it is started by, and which becomes it.
    """

    def __init__(self, folder: Path, *options: str, within: Sequence[str] = ()) -> None:
        self._within = tuple(within)
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, the same for every start."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client of its own."""
        return redis.Redis(port=self.port)

    def start(self) -> None:
        """Start, and wait until it answers."""
        binary, _ = find_server()
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *self._within,
            str(binary),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
        ]
        command += ["--save", "", "--appendonly", "yes", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:  # not there yet, or still loading
                    assert time.monotonic() < deadline, (self.folder / "log").read_text()
                    time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a server with an append-only file; yield its URL."""
    with RedisServer(folder, *options) as server:
        yield server.url

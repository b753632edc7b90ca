"""Hosts where no namespaces can be made: processes with homes of their own, behind proxies that can fall silent."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.namespaces import LOOPBACK, Cable

_REDIRECT = Path(__file__).with_name("redirect")


class SilentProxy:
    """A cable to a port of this machine. Taken out, it ends nothing: what is sent arrives when it is put in again."""

    def __init__(self, target_port: int) -> None:
        self._target = (LOOPBACK, target_port)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._in = threading.Event()
        self._in.set()
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Take it out."""
        self._in.clear()

    def join(self) -> None:
        """Put it in."""
        self._in.set()

    def close(self) -> None:
        """End every connection through it."""
        self._over = True
        self._in.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._in.wait()
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        threading.Thread(target=self._carry, args=(near, far), daemon=True).start()
        self._carry(far, near)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._over and (data := source.recv(65_536)):
                self._in.wait()
                target.sendall(data)
        self._in.wait()
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class ProxiedHost:
    """A host that is a home and two cables; `ports` are those of Redis and of the provider."""

    def __init__(self, number: int, ports: Mapping[Cable, int]) -> None:
        self.name = f"host{number}"
        self._cables = {cable: SilentProxy(port) for cable, port in ports.items()}
        self._redirect = ",".join(f"{port}={self._cables[cable].port}" for cable, port in ports.items())
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a process on it."""
        redirected = {**environment, "TEST_REDIRECT": self._redirect, "PYTHONPATH": str(_REDIRECT)}
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command, cwd=folder, env=redirected, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        self._processes.append(process)
        return process

    def cut(self, cables: Sequence[Cable]) -> None:
        """Take its cables out."""
        for cable in cables:
            self._cables[cable].cut()

    def join(self, cables: Sequence[Cable]) -> None:
        """Put its cables in again."""
        for cable in cables:
            self._cables[cable].join()

    def is_named(self, worker: str) -> bool:
        """Tell whether a worker of that name runs on it."""
        return any(f":{process.pid}@" in worker for process in self._processes)

    def power_off(self) -> None:
        """End it at once; nobody hears a last word."""
        self.cut(tuple(Cable))
        self.close()

    def close(self) -> None:
        """End every process of it."""
        for process in self._processes:
            process.kill()
            process.wait()
        for proxy in self._cables.values():
            proxy.close()

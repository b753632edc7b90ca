"""A TCP proxy on 127.0.0.1 that can be shut, at once or when so many bytes have come back through it."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Doorway:
    """Listens while its block runs: ``with Doorway(port) as door: …``. Shut, it ends whatever tries to pass."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._left: int | None = None
        self.open = True
        self.passed_bytes = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Doorway:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shut()
        self._listener.close()

    def shut(self, after_bytes: int = 0) -> None:
        """Shut it now, or when so many more bytes have come back."""
        with self._lock:
            if after_bytes:
                self._left = after_bytes
                return
            self.open, self._left = False, None
            ends, self._ends = self._ends, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """Let pass again."""
        with self._lock:
            self.open = True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self.open:
                    near.close()
                    continue
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._ends += [near, far]
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, back: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
                if back and self._spent(len(data)):
                    self.shut()
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _spent(self, size_bytes: int) -> bool:
        with self._lock:
            self.passed_bytes += size_bytes
            if self._left is None:
                return False
            self._left -= size_bytes
            return self._left <= 0

"""Runs a sandbox until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from sandbox.app import build
from sandbox.connection import Connection
from sandbox.options import SandboxOptions
from sandbox.world import World

HOST = "127.0.0.1"
BACKLOG = 2048
KEEP_ALIVE_S = 30
LAST_WORDS_S = 1


def serve(options: SandboxOptions, ready: Callable[[str], None] | None = None) -> None:
    """Serve on 127.0.0.1 until SIGTERM, SIGINT or the end of ``owner_fd``; blocks, then returns normally.

    ``ready`` is called once with the base URL when requests are being answered. Requests still open at the end get a
    second. Signals are handled only in the main thread. Raises OSError when the port is taken.
    """
    world = World(options)
    with _listener(options.port) as listener:
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            build(world),
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=LAST_WORDS_S,
            h11_max_incomplete_event_size=1_000_000,  # a list of 1,000 long ids is one request line
        )
        _Server(config, options.owner_fd, lambda: ready(url) if ready else None).run([listener])
    world.log.close()


def _listener(port: int) -> socket.socket:
    # With socket.create_server() the protocol number would be 0, for which asyncio leaves Nagle's algorithm on: every
    # answer on a kept-alive connection would then wait 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready, ends with its owner, and takes a signal for a normal end."""

    def __init__(self, config: uvicorn.Config, owner_fd: int | None, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._owner_fd = owner_fd
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._owner_fd is not None:
            asyncio.get_running_loop().add_reader(self._owner_fd, self._owner_moved, self._owner_fd)
        self._ready()

    def _owner_moved(self, owner_fd: int) -> None:
        if not os.read(owner_fd, 4096):
            asyncio.get_running_loop().remove_reader(owner_fd)
            self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it has shut down, which makes a normal end look like a crash.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

"""A Redis client for simulations: redis-py's commands over one plain socket, at a fifth of its cost per command.

No pool, no reconnecting, no threads: crash enumeration sends millions of commands to a server on this machine.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError


class QuickRedis(redis.Redis):
    """One connection to a unix socket. Pipelines are redis-py's own, over its own connection."""

    def __init__(self, path: Path, database: int = 0) -> None:
        super().__init__(unix_socket_path=str(path), protocol=2, db=database)
        self._callbacks: dict[str, Any] = dict(self.response_callbacks)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._in = self._socket.makefile("rb")
        if database:
            self.execute_command("SELECT", database)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply as redis-py does."""
        words = [word for arg in args for word in (arg.split() if arg is args[0] else [arg])]
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            raw = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
        self._socket.sendall(b"".join(parts))
        reply = self._read()
        if isinstance(reply, ResponseError):
            raise reply
        options.pop("keys", None)  # for redis-py's own cache
        callback = self._callbacks.get(str(args[0]))
        return callback(reply, **options) if callback else reply

    def hang_up(self) -> None:
        """Close both connections."""
        self._in.close()
        self._socket.close()
        self.close()

    def _read(self) -> Any:
        line = self._in.readline()
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b":":
                return int(rest)
            case b"$":
                size = int(rest)
                return None if size < 0 else self._in.read(size + 2)[:-2]
            case b"*":
                size = int(rest)
                return None if size < 0 else [self._read() for _ in range(size)]
            case b"-":
                text = rest.decode()
                return NoScriptError(text) if text.startswith("NOSCRIPT") else ResponseError(text)
        raise ConnectionError("the server is gone")


class Databases:
    """The databases of one server that writes nothing to disk, handed out in turn, each emptied before it is."""

    NUMBER = 16

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clients: list[QuickRedis] = []
        self._given = 0
        with redis.Redis(unix_socket_path=str(path)) as client:
            client.config_set("appendonly", "no")

    def next(self) -> QuickRedis:
        """Return a client of an empty database; the one given `NUMBER` calls ago is emptied for that."""
        index = self._given % self.NUMBER
        self._given += 1
        if index == len(self._clients):
            self._clients.append(QuickRedis(self._path, index))
        self._clients[index].flushdb()
        return self._clients[index]

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            client.hang_up()

"""Looks for secrets in every place where something could have written them, in every way that it could have.

    canary = Canary("sk-…")
    assert canary.in_folder(home) == []

A finding names the place and the way. Everything is unpacked first: zlib, gzip, and base64 (Celery's messages).
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import stat
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

import redis

_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_QUOTED = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_UNPACKED_MOST = 20_000_000
_LAYERS = 4


class Canary:
    """One secret, at least 24 characters long: each half of it is looked for too."""

    def __init__(self, secret: str) -> None:
        assert len(secret) >= 24
        self.secret = secret
        half = len(secret) // 2
        self.forms = {
            f"{way} {part}": form
            for part, text in (("whole", secret), ("first half", secret[:half]), ("second half", secret[half:]))
            for way, form in _ways(text).items()
        }

    def in_bytes(self, data: bytes, place: str) -> list[str]:
        """Return the findings in some bytes and in whatever is packed in them."""
        found = set()
        for layer in _layers(data, _LAYERS):
            found |= {f"{place}: {way}" for way, form in self.forms.items() if form in layer}
        return sorted(found)

    def in_text(self, text: str, place: str) -> list[str]:
        return self.in_bytes(text.encode("utf-8", "surrogateescape"), place)

    def in_folder(self, folder: Path) -> list[str]:
        """Return the findings in all files below, and in their names."""
        found = []
        for path in [folder, *folder.rglob("*")]:
            found += self.in_text(path.name, f"the name {path}")
            if stat.S_ISREG(path.lstat().st_mode):
                found += self.in_bytes(path.read_bytes(), str(path))
        return found

    def in_redis(self, client: Any) -> list[str]:
        """Return the findings in all keys and values, in the slow log and in the list of clients."""
        found = []
        for key in client.scan_iter(count=1000):
            found += self.in_bytes(key + b"\n" + b"\n".join(_values(client, key)), f"redis {key!r}")
        found += self.in_text(repr(client.slowlog_get(1000)), "the slow log")
        return found + self.in_text(repr(client.client_list()), "the list of clients")


def _unquoted(escape: bytes) -> bytes:
    if len(escape) == 3:
        return bytes.fromhex(escape[1:].decode())
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}.get(escape, escape)


def _ways(secret: str) -> dict[str, bytes]:
    raw = secret.encode()
    ways = {
        "raw": raw,
        "reversed": raw[::-1],
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "for URLs": quote(secret, safe="").encode(),
        "for URLs, paths": quote(secret).encode(),
        "for forms": quote_plus(secret).encode(),
        "JSON": json.dumps(secret)[1:-1].encode(),
        "JSON in JSON": json.dumps(json.dumps(secret)[1:-1])[1:-1].encode(),
        "repr": repr(secret)[1:-1].encode(),
        "HTML": secret.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").encode(),
        "UTF-16": secret.encode("utf-16-le"),
    }
    for offset in range(3):
        # What depends on the bytes before and after is cut off: those are somebody else's.
        whole = base64.b64encode(bytes(offset) + raw)
        fixed = whole[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        ways[f"base64 at {offset}"] = fixed
        ways[f"base64url at {offset}"] = fixed.replace(b"+", b"-").replace(b"/", b"_")
    return ways


def _layers(data: bytes, depth: int) -> Iterator[bytes]:
    yield data
    if not depth:
        return
    for found in _PACKED.finditer(data):
        try:
            unpacked = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data[found.start() :], _UNPACKED_MOST)
        except zlib.error:
            continue
        if unpacked:
            yield from _layers(unpacked, depth - 1)
    for found in _BASE64.finditer(data):
        text = found[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        yield from _layers(base64.b64decode(text[: len(text) // 4 * 4]), depth - 2 if depth > 1 else 0)


def _values(client: Any, key: bytes) -> list[bytes]:
    """Return everything under a key; [] if it has just gone."""
    match client.type(key):
        case b"string":
            return [client.get(key) or b""]
        case b"hash":
            return [part for pair in client.hgetall(key).items() for part in pair]
        case b"list":
            return list(client.lrange(key, 0, -1))
        case b"set":
            return list(client.smembers(key))
        case b"zset":
            return list(client.zrange(key, 0, -1))
        case b"stream":
            return [part for _, entry in client.xrange(key) for pair in entry.items() for part in pair]
        case _:
            return []


class CommandWatch:
    """Collects every command line on this machine while its block lasts: a process may live for a moment only."""

    EVERY_S = 0.05

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.lines: set[bytes] = set()

    def __enter__(self) -> CommandWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    self.lines.add(Path("/proc", name, "cmdline").read_bytes())
                    self.lines.add(Path("/proc", name, "comm").read_bytes())
                except OSError:
                    continue  # it has just ended
            if self._over.wait(self.EVERY_S):
                return


class RedisWatch:
    """Records what every client sends to a Redis while its block lasts: messages too that are gone in a moment."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._connection: Any = self._client.connection_pool.get_connection()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._record = bytearray()

    @property
    def record(self) -> bytes:
        """What was sent so far, as bytes and not as MONITOR quotes them."""
        return _QUOTED.sub(lambda found: _unquoted(found[1]), bytes(self._record))

    def __enter__(self) -> RedisWatch:
        self._connection.send_command("MONITOR")
        assert self._connection.read_response() == b"OK"
        self._socket: socket.socket = self._connection._sock  # redis-py would parse, and lose, what it doesn't know
        self._socket.settimeout(0.2)
        self._running = True
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running = False
        self._thread.join()
        self._connection.disconnect()
        self._client.close()

    def _read(self) -> None:
        while self._running:
            try:
                got = self._socket.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError:
                return
            if not got:
                return
            self._record += got

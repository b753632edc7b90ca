"""Counts the commands that clients send to Redis, by purpose, with MONITOR; commands inside scripts don't count.

MONITOR slows the server down, so nothing is timed meanwhile.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from types import TracebackType
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from paceline.scripts import _NAMES, source

_WORDS = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FROM_SCRIPT = re.compile(r"^\S+ \[\d+ lua\]")


class Monitor(threading.Thread):
    """Listens while it is open; `counts` is complete once it is closed."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(name="redis-monitor", daemon=True)
        self.counts: Counter[str] = Counter()
        self._redis: Any = redis
        self._names = {redis.register_script(source(name)).sha: name for name in _NAMES}
        self._connection: Any = redis.connection_pool.get_connection()

    def __enter__(self) -> Monitor:
        self._connection.send_command("MONITOR")
        self._connection.read_response()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._redis.echo("over")
        self.join(10.0)
        self._connection.disconnect()

    def run(self) -> None:
        """Count until the closing word comes."""
        while True:
            try:
                line = self._connection.read_response(timeout=600).decode("utf-8", "replace")
            except RedisError:
                return
            if _FROM_SCRIPT.match(line):
                continue
            words = _WORDS.findall(line)
            if words[0].upper() == "ECHO":
                return
            self.counts[purpose(words, self._names)] += 1


def purpose(words: list[str], scripts: dict[str, str]) -> str:
    """Say what a command is for: our script by name, our reads by command, Celery's by what it does there."""
    command = words[0].upper()
    first = words[1] if len(words) > 1 else ""
    if command in ("EVALSHA", "EVAL"):
        return f"script {scripts.get(first, '?')}"
    if first.startswith("pl:"):
        return f"ours: {command} {re.sub(r'b[0-9a-z]{9}(-[0-9]+)?', '*', first)}"
    if command in ("PING", "CLIENT", "HELLO", "SELECT", "INFO", "TIME", "SCAN", "SCRIPT"):
        return f"connection and other: {command}"
    if first.startswith("celery-task-meta"):
        return f"results backend: {command}"
    return f"broker: {command} {first.split('.')[0]}".rstrip()

"""Sets up logging: a line per event, for people or for programs.

An event is a dotted constant (`submission.accepted`), its facts travel as `extra`. File names and providers' words end
up in facts, so nothing unprintable is let through: a log line can't move a cursor, start a new line or fake one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; all else is a fact."""

NOISY = ("httpx", "httpcore", "celery", "kombu", "amqp", "urllib3", "asyncio", "flower", "tornado")
"""Loggers heard from WARNING on. httpx logs whole URLs at INFO, Celery the values that tasks return."""

_LEAST_SECRET = 6
"""Shorter values are no keys, and hiding them would hide half of every line."""


def setup_logging(
    level: str, style: Literal["text", "json"], *, stream: TextIO | None = None, key_envs: Iterable[str] = ()
) -> None:
    """Send everything from `level` on to `stream` (None: stderr), replacing earlier handlers of the root logger.

    The values of the environment variables `key_envs` are masked wherever they turn up, tracebacks included: the last
    line of defence, as nothing should log them.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((JsonFormatter if style == "json" else TextFormatter)(key_envs))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def printable(text: str) -> str:
    """Escape what isn't printable: control characters, terminal sequences, line ends, direction marks, surrogates."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


class _Formatter(logging.Formatter):
    def __init__(self, key_envs: Iterable[str] = ()) -> None:
        super().__init__()
        self._key_envs = tuple(key_envs)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, with keys masked."""
        line = self.line(record)
        for key_env in self._key_envs:
            secret = os.environ.get(key_env, "").strip()
            if len(secret) >= _LEAST_SECRET:
                line = line.replace(secret, f"[{key_env}]")
        return line

    def line(self, record: logging.LogRecord) -> str:
        raise NotImplementedError


class TextFormatter(_Formatter):
    """`2026-11-22T03:00:00.000Z INFO submission.accepted submission=b1-000001`; tracebacks follow, indented."""

    def line(self, record: logging.LogRecord) -> str:
        """Return the record for a person."""
        facts = "".join(f" {name}={_word(value)}" for name, value in facts_of(record).items())
        traceback = "".join(f"\n  | {printable(part)}" for part in _traceback(self, record).splitlines())
        return f"{_time(record)} {record.levelname} {printable(record.getMessage())}{facts}{traceback}"


class JsonFormatter(_Formatter):
    """One JSON object: `time`, `level`, `event`, `logger`, the facts, and `traceback` where there is one."""

    def line(self, record: logging.LogRecord) -> str:
        """Return the record for a program."""
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        fields = {**facts_of(record), **fields}
        if traceback := _traceback(self, record):
            fields["traceback"] = traceback
        return json.dumps(fields, default=str)


def facts_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return what was passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(value: object) -> str:
    text = printable(str(value))
    return text if text and not set(text) & set(' "=') else json.dumps(text, ensure_ascii=False)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""

"""Sets up logging: a line per event, for people or for programs.

An event is a dotted constant (`submission.accepted`), its facts travel as `extra`. File names and providers' words end
up in facts, so nothing unprintable is let through: a log line can't move a cursor, start a new line or fake one.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from config.masking import Mask
from paceline.markup import visible

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; all else is a fact."""

NOISY = ("httpx", "httpcore", "celery", "kombu", "amqp", "urllib3", "asyncio", "flower", "tornado")
"""Loggers heard from WARNING on. httpx logs whole URLs at INFO, Celery the values that tasks return."""


def setup_logging(
    level: str,
    style: Literal["text", "json"],
    *,
    stream: TextIO | None = None,
    mask: Mask | None = None,
) -> None:
    """Send everything from `level` on to `stream` (None: stderr), replacing earlier handlers of the root logger.

    `mask` hides secrets in every line, tracebacks included.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((JsonFormatter if style == "json" else TextFormatter)(mask or Mask()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def format_stray_lines(style: Literal["text", "json"], mask: Mask) -> None:
    """Write what is logged where nothing is set up as everywhere else: Python would print it bare, names and all."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter((JsonFormatter if style == "json" else TextFormatter)(mask))


printable = visible
"""Escape what isn't printable: control characters, terminal sequences, line ends, direction marks, surrogates."""


class _Formatter(logging.Formatter):
    def __init__(self, mask: Mask = Mask()) -> None:  # noqa: B008  # it keeps nothing
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, with keys masked."""
        return self._mask(self.line(record))

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

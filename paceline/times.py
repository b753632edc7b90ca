"""Turn stored times into the text of records: aware UTC, always with a `Z`.

One place, because a file's mtime stands in records from two writers (a submission's part, a skipped file's line) and
must read the same in both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)


def iso(ms: int) -> str:
    """Write milliseconds since the epoch as `2026-11-03T09:15:00.250Z`."""
    return _text(ms * 1000, "milliseconds")


def iso_from_ns(ns: int) -> str:
    """Write nanoseconds since the epoch as `2026-11-03T09:15:00.250000Z`, cut to whole microseconds.

    File systems hold times that no calendar does; beyond the years 1 to 9999 the nearest end is written.
    """
    return _text(ns // 1000, "microseconds")


def ms_of(text: str) -> int:
    """Read the milliseconds since the epoch back from what `iso` wrote. Raises `ValueError` or `TypeError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return round((moment - _EPOCH) / timedelta(milliseconds=1))


def _text(us: int, precision: str) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        moment = _LAST if us > 0 else _FIRST
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"

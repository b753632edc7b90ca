"""By when a night must be done: a time of the clock after it was due, or a length."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from paceline.errors import UsageError
from paceline.schedules.due import resolve

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_LENGTH = re.compile(r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?", re.ASCII)


def check_deadline(text: str) -> None:
    """Raise `UsageError` for what is neither a time like `06:00` nor a length like `4h`, `90m` or `1d12h`."""
    _length(text)


def deadline_of(text: str, due: datetime, zone: tzinfo) -> datetime:
    """Return the deadline of a night, in UTC: the next time the zone's clock shows `06:00` after it was due, or later
    by a length. Raises `UsageError` as `check_deadline` does.
    """
    length = _length(text)
    if length is not None:
        return due.astimezone(UTC) + length
    hour, minute = map(int, text.strip().split(":"))
    day = due.astimezone(zone).replace(tzinfo=None, hour=hour, minute=minute, second=0, microsecond=0)
    while True:
        moment = resolve(day, zone)
        if moment > due:
            return moment
        day += timedelta(days=1)


def _length(text: str) -> timedelta | None:
    """Return a length, None for a time of the clock."""
    if _CLOCK.fullmatch(text.strip()):
        return None
    found = _LENGTH.fullmatch(text.strip())
    if found is None or not any(number and int(number) for number in found.groups()):
        raise UsageError("no deadline; write a time of the clock, 06:00, or a length, e.g. 4h or 90m")
    days, hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)

"""Find the due times of a cron expression in a time zone.

An expression that names its minutes and hours means what the clock on the wall shows: a time that a change of clocks
leaves out is due once, when clocks have moved on (02:30 becomes 03:00), and a time that is shown twice is due the
first time. An expression with `*` in its minutes or hours counts real time: every hour is every real hour.

Nothing here reads a clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from paceline.errors import UsageError

_AROUND = timedelta(days=2)
"""More than clocks were ever moved by: Samoa left out a day in 2011."""

_ANY_DAY = datetime(2024, 1, 1)  # noqa: DTZ001  # cron days have no zone


def find_zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name. Raises `UsageError`."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError("no time zone; write an IANA name, e.g. Europe/Berlin") from error


class Cron:
    """The due times of an expression of 5 fields, or 6 with seconds first, in a zone. Raises `UsageError` for others.

    All times given and returned are aware; those returned are in the zone, to the second.
    """

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.expression, self.zone_name = expression, zone
        self.zone = find_zone(zone)
        parts = expression.split()
        try:
            first = next(CronSim(expression, _ANY_DAY), None)
        except CronSimError as error:
            raise UsageError(
                f"no cron expression ({str(error).lower()}); write minute, hour, day, month, weekday, e.g. 0 2 * * *"
            ) from error
        if first is None:
            raise UsageError("no day is like that in 50 years; correct day and month")
        minute, hour = parts[-5:-3]
        self._by_wall = not minute.startswith("*") and not hour.startswith("*")

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Give the due times later than a moment, in order, without end (for 50 years at least)."""
        last = moment.astimezone(UTC)
        for due in self._from(last):
            if due > last:
                yield due.astimezone(self.zone)
                last = due

    def next(self, moment: datetime, number: int) -> list[datetime]:
        """Return the next due times after a moment."""
        return list(islice(self.after(moment), number))

    def between(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """Return the due times later than `after` and not later than `until`, in order; of many, the last `most`."""
        window = timedelta(hours=1)
        while True:
            begin = max(after, until - window)
            kept: deque[datetime] = deque(maxlen=most)
            for due in self.after(begin):
                if due > until:
                    break
                kept.append(due)
            if begin == after or len(kept) == most:
                return list(kept)
            window *= 6

    def is_due(self, moment: datetime) -> bool:
        """Tell whether a moment is a due time."""
        real = moment.astimezone(UTC)  # in a zone, a second less and what is equal mean what clocks show
        found = next(self.after(real - timedelta(seconds=1)), None)
        return found is not None and found.astimezone(UTC) == real

    def _from(self, moment: datetime) -> Iterator[datetime]:
        """Give due times in UTC, from before or soon after a moment on."""
        if not self._by_wall:
            for due in CronSim(self.expression, moment.astimezone(self.zone)):
                yield due.astimezone(UTC)
            return
        start = moment.astimezone(self.zone).replace(tzinfo=None) - _AROUND
        for shown in CronSim(self.expression, start):
            yield resolve(shown, self.zone)


def resolve(shown: datetime, zone: tzinfo) -> datetime:
    """Return when a clock of the zone shows a time (naive): the first time, or when it has moved past it; in UTC."""
    while True:
        moment = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == shown:
            return moment
        shown = shown + timedelta(minutes=1)


def written(due: datetime) -> str:
    """Write a due time as its zone shows it: `2026-11-23T02:00+01:00`, with seconds where there are any."""
    return due.isoformat(timespec="seconds" if due.second else "minutes")


def ms_of(moment: datetime) -> int:
    """Return the milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def at_ms(ms: int, zone: tzinfo = UTC) -> datetime:
    """Return a moment from its milliseconds since the epoch."""
    return datetime.fromtimestamp(ms / 1000, zone)

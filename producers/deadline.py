"""Hold a plan against the time by which it has to be done."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from paceline.errors import UsageError
from producers.estimating import Bind, Pace, Span, Work

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it can be done in time. `feasible` is None for perhaps: the deadline lies within the range.

    `spare_s` is what is left at the high end where it is feasible, what lacks at the low end where it isn't (negative),
    else how much too late it may get (negative). `binds` is what decides.
    """

    starts: datetime
    at: datetime
    earliest: datetime
    latest: datetime
    feasible: bool | None
    spare_s: float
    binds: Bind


@dataclass(frozen=True, slots=True)
class Help:
    """What would make a plan feasible.

    `runs` can be done until then; `limit` starts in each window, or `files_per_run`, would be enough for all of it,
    None where that alone isn't.
    """

    runs: int
    limit: int | None
    files_per_run: int | None


def parse_moment(text: str, after: datetime, option: str) -> datetime:
    """Read `06:00`, the next time this machine's clock shows that after `after`, or an ISO 8601 time; in UTC.

    One without an offset is local. A time that a change of clocks leaves out is taken as what the clock shows instead.
    Raises `UsageError` for one that isn't one, or that isn't after `after`.
    """
    after = after.astimezone(UTC)
    if found := _CLOCK.fullmatch(text.strip()):
        return _next(int(found[1]), int(found[2]), after)
    try:
        moment = _utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{option} {text!r}: no time; write it like 06:00, or 2026-12-01T06:00+01:00") from error
    if moment <= after:
        raise UsageError(f"{option} {text!r} has passed already; it has to be after {local(after)}")
    return moment


def _next(hour: int, minute: int, after: datetime) -> datetime:
    today = after.astimezone().replace(tzinfo=None)
    shown = [
        (today + timedelta(days=day)).replace(hour=hour, minute=minute, second=0, microsecond=0) for day in (0, 1, 2)
    ]
    twice = [again for one in shown if _shows(again := one.replace(fold=1))]  # when clocks are set back
    return min(moment for one in (*shown, *twice) if (moment := _utc(one)) > after)


def _shows(naive: datetime) -> bool:
    """Tell whether a clock ever shows this."""
    return _utc(naive).astimezone().replace(tzinfo=None) == naive


def _utc(moment: datetime) -> datetime:
    """Return a moment, local where it has no zone, in UTC. (`astimezone` takes an hour off what clocks leave out.)"""
    return datetime.fromtimestamp(moment.timestamp(), UTC)


def local(moment: datetime) -> str:
    """Write a moment as this machine's clock shows it, to the minute."""
    return moment.astimezone().strftime("%a %Y-%m-%d %H:%M")


def judge(span: Span, starts: datetime, at: datetime) -> Verdict:
    """Tell whether what takes so long, begun then, is done by `at`."""
    starts, at = starts.astimezone(UTC), at.astimezone(UTC)
    earliest, latest = (starts + timedelta(seconds=side.seconds) for side in (span.lowest, span.highest))
    if latest <= at:
        return Verdict(starts, at, earliest, latest, True, (at - latest).total_seconds(), span.highest.binds)
    if earliest > at:
        return Verdict(starts, at, earliest, latest, False, (at - earliest).total_seconds(), span.lowest.binds)
    return Verdict(starts, at, earliest, latest, None, (at - latest).total_seconds(), span.highest.binds)


def helps(work: Work, pace: Pace, span: Span, verdict: Verdict, most_files: int) -> Help:
    """Return what can be done in time, and what would be enough for all of it: a faster pace alone, or larger runs.

    At the low end of the estimate where the plan isn't feasible, so that nothing less would do; else at the high end.
    `most_files` a run may have. Where the line takes too long, or runs that calls wait for, neither helps.
    """
    low = verdict.feasible is False
    side = span.lowest if low else span.highest
    limit, ahead = (pace.rate.limit, 0) if low else (pace.lowest_limit, pace.ahead)
    sending_s = (verdict.at - verdict.starts).total_seconds() - side.run_s - side.extra_s
    if sending_s < 0 or not work.submissions:
        return Help(0, None, None)
    windows = math.floor(sending_s / pace.window_s) + 1
    slowest_s = max(side.upload_s, side.busy_s)
    through = 1.0 if slowest_s <= sending_s else sending_s / slowest_s
    runs = max(min(windows * limit - ahead, math.floor(work.submissions * through)), 0)
    if through < 1.0 or runs >= work.submissions:
        return Help(min(runs, work.submissions), None, None)
    larger = math.ceil(work.files / runs) if runs else most_files + 1
    return Help(runs, math.ceil((work.submissions + ahead) / windows), larger if larger <= most_files else None)

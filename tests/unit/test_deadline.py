"""Holding a plan against the time by which it has to be done, on any day of the year."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from paceline.errors import UsageError
from paceline.model import Rate
from producers.deadline import Help, Verdict, helps, judge, parse_moment
from producers.estimating import Bind, Pace, RunLength, Side, Span, Work, time_needed


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this process into a zone whose clocks change; by rule, for a machine may have no table of zones."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "text", "found"),
    [
        ("2026-06-10T01:00", "06:00", "2026-06-10T04:00"),  # 03:00 here: today
        ("2026-06-10T04:00", "06:00", "2026-06-11T04:00"),  # exactly then: the next one
        ("2026-06-10T22:30", "06:00", "2026-06-11T04:00"),  # half past midnight here: later today
        ("2026-06-10T21:30", "0:15", "2026-06-10T22:15"),  # over midnight
        ("2026-12-31T20:00", "06:00", "2027-01-01T05:00"),  # over the year
        ("2026-03-28T20:00", "06:00", "2026-03-29T04:00"),  # the night in which an hour is left out
        ("2026-10-24T20:00", "06:00", "2026-10-25T05:00"),  # the night in which an hour comes twice
        ("2026-03-28T20:00", "02:30", "2026-03-29T01:30"),  # left out: what the clock shows instead, 03:30
        ("2026-10-24T20:00", "02:30", "2026-10-25T00:30"),  # the first of two
        ("2026-10-25T00:45", "02:30", "2026-10-25T01:30"),  # the first is over: the second
        ("2026-10-25T01:45", "02:30", "2026-10-26T01:30"),  # both are over
    ],
)
def test_a_time_of_day_is_the_next_one_that_the_clock_shows(now: str, text: str, found: str) -> None:
    assert parse_moment(text, utc(now), "--deadline") == utc(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-12-01T06:00", "2026-12-01T05:00"),
        ("2026-07-01T06:00", "2026-07-01T04:00"),
        ("2026-12-01 06:00:30", "2026-12-01T05:00:30"),
        ("2026-12-01T06:00+05:00", "2026-12-01T01:00"),
        ("2026-12-01T06:00Z", "2026-12-01T06:00"),
        ("2026-12-01", "2026-11-30T23:00"),
    ],
)
def test_a_whole_time_is_local_unless_it_says_its_offset(text: str, found: str) -> None:
    assert parse_moment(text, utc("2026-06-01T00:00"), "--deadline") == utc(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("25:00", "no time"),
        ("6", "no time"),
        ("06:60", "no time"),
        ("tomorrow", "06:00"),
        ("", "no time"),
        ("٠٦:٠٠", "no time"),
        ("0001-01-01T00:00+14:00", "no time"),
        ("2026-05-31", "has passed"),
    ],
)
def test_what_is_no_time_to_come_is_refused_with_what_would_be_one(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_moment(text, utc("2026-06-01T00:00"), "--start")
    assert "--start" in str(caught.value)


def span(lowest_s: float, highest_s: float) -> Span:
    return Span(Side(lowest_s, 0, 0, 0, 0), Side(0, highest_s, 0, 0, 0))


@pytest.mark.parametrize(
    ("seconds", "feasible", "spare_s", "binds"),
    [
        (60, True, 0.0, Bind.UPLOAD),
        (90, True, 30.0, Bind.UPLOAD),
        (59, None, -1.0, Bind.UPLOAD),
        (20, None, -40.0, Bind.UPLOAD),
        (19, False, -1.0, Bind.PACE),
    ],
)
def test_a_deadline_within_the_range_is_perhaps(
    seconds: int, feasible: bool | None, spare_s: float, binds: Bind
) -> None:
    start = utc("2026-06-01T00:00")

    found = judge(span(20.0, 60.0), start, start + timedelta(seconds=seconds))

    assert (found.feasible, found.spare_s, found.binds) == (feasible, spare_s, binds)
    assert found.latest - found.earliest == timedelta(seconds=40)


def test_the_hour_that_comes_twice_is_there_to_be_used() -> None:
    start = parse_moment("2026-10-25T01:00", utc("2026-06-01T00:00"), "--start")
    at = parse_moment("04:00", start, "--deadline")

    assert judge(span(0, 4 * 3600), start, at).feasible is True
    assert judge(span(0, 4 * 3600 + 1), start, at).feasible is None


PACE = Pace(Rate(40, 60.0), 60.0)
RUN = RunLength(5.0, 5.0, 5.0, 1)


def lacking(work: Work, seconds: float, pace: Pace = PACE) -> tuple[Verdict, Help]:
    start = utc("2026-06-01T00:00")
    needed = time_needed(work, pace, RUN, 1e6)
    verdict = judge(needed, start, start + timedelta(seconds=seconds))
    return verdict, helps(work, pace, needed, verdict, 300)


def test_what_would_help_does_help() -> None:
    work = Work(400, 4000, 4000, 10)

    verdict, found = lacking(work, 125.0)

    assert verdict.feasible is False
    assert found == Help(120, 134, 34)
    assert found.limit is not None
    assert lacking(work, 125.0, Pace(Rate(found.limit, 60.0), 60.0))[0].feasible is not False
    assert lacking(work, 125.0, Pace(Rate(found.limit - 1, 60.0), 60.0))[0].feasible is False
    assert lacking(Work(118, 4000, 4000, 34), 125.0)[0].feasible is not False


@pytest.mark.parametrize(
    ("work", "seconds", "found"),
    [
        (Work(400, 400, 400), 4.0, Help(0, None, None)),  # not even one run
        (Work(400, 400, 10**12), 65.0, Help(3, None, None)),  # the line alone takes too long
        (Work(400, 120_000, 400, 300), 65.0, Help(80, 200, None)),  # runs are as large as they may be
        (Work(0, 0, 0), 1.0, Help(0, None, None)),
    ],
)
def test_what_would_not_help_is_not_proposed(work: Work, seconds: float, found: Help) -> None:
    assert lacking(work, seconds)[1] == found

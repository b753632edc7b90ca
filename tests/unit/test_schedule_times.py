"""Due times, deadlines and placeholders, with the clock as an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.errors import UsageError
from paceline.schedules.deadline import check_deadline, deadline_of
from paceline.schedules.due import Cron, find_zone, written
from paceline.schedules.rendering import check_fields, render

BERLIN = "Europe/Berlin"
EARLY = datetime(2009, 1, 1, tzinfo=UTC)
ZONES = ("UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Beirut", "Pacific/Apia")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def dues(expression: str, after: str, number: int, zone: str = BERLIN) -> list[str]:
    return [written(due) for due in Cron(expression, zone).next(utc(after), number)]


def test_a_time_that_clocks_leave_out_is_due_once_when_they_have_moved_on() -> None:
    assert dues("30 2 * * *", "2026-03-28", 3) == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]


def test_a_time_that_clocks_show_twice_is_due_the_first_time() -> None:
    assert dues("30 2 * * *", "2026-10-24", 3) == [
        "2026-10-24T02:30+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_what_was_due_the_first_time_is_not_due_again_while_clocks_show_it_again() -> None:
    between_the_two = "2026-10-25T00:45"  # 02:45 for the first time
    assert dues("30 2 * * *", between_the_two, 1) == ["2026-10-26T02:30+01:00"]
    assert dues("30 2 * * *", "2026-10-25T01:15", 1) == ["2026-10-26T02:30+01:00"]  # 02:15 for the second


def test_an_hourly_schedule_is_due_every_real_hour() -> None:
    assert dues("30 * * * *", "2026-10-24T23:45", 3) == [
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:30+01:00",
    ]
    assert dues("30 * * * *", "2026-03-29T00:00", 2) == ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]


@pytest.mark.parametrize(
    ("expression", "after"),
    [("30 2 * * *", "2026-03-28T12:00"), ("0 * * * *", "2026-03-28T23:30"), ("0 * * * *", "2026-10-24T23:30")],
)
def test_what_comes_due_as_clocks_are_changed_is_known_as_due(expression: str, after: str) -> None:
    """Else `--due` refuses it, and its results lie in the place of a night that was started in between."""
    times = Cron(expression, BERLIN)
    assert [written(due) for due in times.next(utc(after), 4) if not times.is_due(due)] == []


def test_what_clocks_show_for_the_second_time_is_not_due() -> None:
    again = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo(BERLIN))
    assert not Cron("30 2 * * *", BERLIN).is_due(again)
    assert Cron("30 2 * * *", BERLIN).is_due(again.replace(fold=0))


def test_six_fields_begin_with_seconds_and_mean_the_wall_clock_alike() -> None:
    assert dues("15 30 2 * * *", "2026-03-28T12:00", 1) == ["2026-03-29T03:00:15+02:00"]
    assert dues("*/20 * * * * *", "2026-06-01", 2, "UTC") == ["2026-06-01T00:00:20+00:00", "2026-06-01T00:00:40+00:00"]


@pytest.mark.parametrize("zone", ZONES)
@given(hour=st.integers(0, 23), minute=st.integers(0, 59), day=st.integers(0, 21 * 365))
@settings(max_examples=10, deadline=None)
def test_a_daily_schedule_is_due_once_for_every_day_of_its_zone(zone: str, hour: int, minute: int, day: int) -> None:
    found = [due.astimezone(UTC) for due in Cron(f"{minute} {hour} * * *", zone).next(EARLY + timedelta(day), 250)]
    gaps = [later - earlier for earlier, later in pairwise(found)]
    assert min(gaps) > timedelta(0)
    assert max(gaps) <= timedelta(hours=26)


@given(
    expression=st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 */2 * * *", "15 1,2,3 * * 0", "0 0 1 * *"]),
    zone=st.sampled_from(ZONES),
    minutes=st.integers(0, 9 * 30 * 24 * 60),
    hours=st.integers(1, 200),
    most=st.integers(1, 50),
)
@settings(max_examples=25, deadline=None)
def test_the_last_due_times_are_those_that_counting_forward_finds(
    expression: str, zone: str, minutes: int, hours: int, most: int
) -> None:
    cron, after = Cron(expression, zone), utc("2026-03-01") + timedelta(minutes=minutes)
    until = after + timedelta(hours=hours)
    every = [due for due in islice(cron.after(after), 3000) if due <= until]
    assert cron.between(after, until, most) == every[-most:]


def test_a_long_time_of_seconds_is_looked_through_from_its_end() -> None:
    found = Cron("* * * * * *").between(utc("1990-01-01"), utc("2026-01-01"), 100)
    assert len(found) == 100
    assert found[-1] == utc("2026-01-01")


@pytest.mark.parametrize(
    "text", ["0 0 30 2 *", "0 0 31 2,4 *", "@daily", "", "x", "0 0 * *", "61 * * * *", "0 0 * * * * *"]
)
def test_what_is_never_due_or_no_expression_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Cron(text)


@pytest.mark.parametrize("name", ["Mars", "", "../etc/passwd", "/etc/localtime", "Europe", "a\0b"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="IANA"):
        find_zone(name)


def test_a_due_time_is_told_from_others() -> None:
    cron = Cron("30 2 * * *", BERLIN)
    assert cron.is_due(utc("2026-03-29T01:00"))
    assert not cron.is_due(utc("2026-03-29T01:30"))


# --- deadlines


@pytest.mark.parametrize(
    ("text", "due", "deadline"),
    [
        ("06:00", "2026-11-23T01:00", "2026-11-23T05:00"),
        ("06:00", "2026-11-23T05:00", "2026-11-24T05:00"),  # due at six: the next one
        ("01:00", "2026-11-23T01:00", "2026-11-24T00:00"),
        ("02:30", "2026-03-28T22:00", "2026-03-29T01:00"),  # left out: when clocks have moved on
        ("03:00", "2026-10-24T23:00", "2026-10-25T02:00"),  # after the longest night
        ("4h", "2026-10-24T23:00", "2026-10-25T03:00"),  # real hours
        ("1d12h30m5s", "2026-11-23T01:00", "2026-11-24T13:30:05"),
    ],
)
def test_a_deadline_is_the_next_such_time_in_the_zone_or_a_length(text: str, due: str, deadline: str) -> None:
    assert deadline_of(text, utc(due), ZoneInfo(BERLIN)) == utc(deadline)


@pytest.mark.parametrize("text", ["", "6", "24:00", "06:60", "h", "0h", "4 hours", "-1h", "1h1d"])
def test_what_is_no_deadline_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no deadline"):
        check_deadline(text)


# --- placeholders


def test_placeholders_are_filled_in_from_the_due_time_in_its_zone() -> None:
    due = utc("2026-11-22T23:05").astimezone(ZoneInfo(BERLIN))
    text = "s3://b/{name}/{year}/{month}/{day}/{date}T{time}/{{x}}"
    assert render(text, "nightly", due) == "s3://b/nightly/2026/11/23/2026-11-23T0005/{x}"


def test_an_hour_that_clocks_show_twice_has_two_names() -> None:
    both = Cron("30 * * * *", BERLIN).next(utc("2026-10-24T23:45"), 2)
    assert [render("{time}", "n", due) for due in both] == ["0230", "0230-2"]


@pytest.mark.parametrize(("text", "hint"), [("{dat}", "mean {date}"), ("{x}", "there are")])
def test_an_unknown_placeholder_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        check_fields(text)


@pytest.mark.parametrize("text", ["out/{date", "{date:%Y}", "{day }"])
def test_a_placeholder_that_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no placeholder; write \{da"):
        check_fields(text)


@pytest.mark.parametrize("text", ["{{date", "{{date}}", "{dates,x}"])
def test_braces_that_are_meant_as_such_are_no_placeholder(text: str) -> None:
    check_fields(text)


@pytest.mark.parametrize("text", ["{}", "{1}", "a{", "}", "*.{pdf,docx}"])
def test_other_braces_stay(text: str) -> None:
    check_fields(text)
    assert render(text, "n", utc("2026-11-22")) == text

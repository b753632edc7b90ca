"""How moments are written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from paceline.times import iso, iso_from_ns


def test_milliseconds_are_written_as_aware_utc() -> None:
    assert iso(1_762_160_100_250) == "2025-11-03T08:55:00.250Z"
    assert datetime.fromisoformat(iso(0)) == datetime(1970, 1, 1, tzinfo=UTC)


def test_nanoseconds_keep_their_microseconds() -> None:
    assert iso_from_ns(1_762_160_100_123_456_789) == "2025-11-03T08:55:00.123456Z"


@pytest.mark.parametrize(
    ("year", "text"), [(-9000, "0001-01-01T00:00:00.000000Z"), (90_000, "9999-12-31T23:59:59.999999Z")]
)
def test_a_file_time_beyond_the_calendar_is_no_crash(year: int, text: str) -> None:
    assert iso_from_ns(year * 31_556_952 * 10**9) == text


def test_a_time_before_1970_is_not_lost() -> None:
    assert iso_from_ns(-1_000_000) == "1969-12-31T23:59:59.999000Z"

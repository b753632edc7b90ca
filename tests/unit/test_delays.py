"""How long to wait: the arithmetic, and its bounds for any input."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.delays import (
    FIRST_POLL_S,
    POLL_LEAST_S,
    POLL_LONGEST_S,
    backoff_s,
    list_sweep_s,
    next_poll_s,
    reconcile_times_s,
    single_gap_s,
    single_sweep_s,
    slack_s,
    tick_s,
    upload_deadline_s,
)
from paceline.model import Rate
from paceline.steps.reconciling import next_look_s


def test_the_first_question_comes_one_to_two_seconds_after_the_start() -> None:
    assert 1 <= FIRST_POLL_S <= 2


LISTS = Rate(1200, 60.0)


@given(now=st.floats(1e9, 2e9), age=st.floats(0, 1e6), calls=st.integers(0, 1000), late=st.floats(-0.5, 60))
def test_later_questions_are_five_to_sixty_seconds_apart_and_share_a_grid(
    now: float, age: float, calls: int, late: float
) -> None:
    due = next_poll_s(now, age, list_sweep_s(calls, LISTS), late_s=late)
    was_due = now - min(late, 2.5)
    assert POLL_LEAST_S - 0.0021 <= due - was_due <= POLL_LONGEST_S + 1e-6
    assert due % (POLL_LEAST_S / 2) == 0


@given(points=st.integers(200_000_000, 400_000_000), late=st.floats(0, 2.49), age=st.floats(5, 600))
def test_the_last_of_several_calls_misses_no_turn(points: int, late: float, age: float) -> None:
    point = points * POLL_LEAST_S
    after = next_poll_s(point + late, age, 0.0, late_s=late)
    assert after == point + POLL_LEAST_S
    single = next_poll_s(point + late, min(age, 300), 0.0, late_s=late, together=False)
    assert single - (point + late) >= POLL_LEAST_S * 15 / 16 - 0.0021


@given(now=st.floats(1e9, 2e9), age=st.floats(5, 600), calls=st.integers(0, 6))
def test_runs_started_at_different_moments_come_to_be_asked_after_at_the_same_ones(
    now: float, age: float, calls: int
) -> None:
    assert next_poll_s(now, age, list_sweep_s(calls, LISTS)) % POLL_LEAST_S == 0


@given(now=st.floats(1e9, 2e9), age=st.floats(0, 5))
def test_the_second_question_comes_within_seven_and_a_half_seconds(now: float, age: float) -> None:
    assert next_poll_s(now, min(age, 4.99), list_sweep_s(1, LISTS)) - now <= 7.5


def test_an_account_with_few_lists_spends_four_fifths_of_them_at_most() -> None:
    assert list_sweep_s(10, Rate(60, 60.0)) == pytest.approx(12.5)
    assert single_gap_s(Rate(60, 60.0)) == 1.25


@given(age=st.floats(0, 3000), calls=st.integers(0, 60), scale=st.sampled_from([2, 4, 8]))
def test_shorter_waits_that_are_set_shorten_everything_alike(age: float, calls: int, scale: int) -> None:
    now, pace = 1_000_000_000.0, Rate(1200 * scale, 60.0)
    least_s = POLL_LEAST_S / scale
    slow = next_poll_s(now, age, min(list_sweep_s(calls, LISTS), 50.0)) - now
    quick = next_poll_s(
        now, age / scale, min(list_sweep_s(calls, pace, least_s=least_s), 50.0 / scale), least_s=least_s
    )
    assert (quick - now) * scale == pytest.approx(slow, abs=POLL_LEAST_S / 2)  # a grid's step, where it rounds
    assert slack_s(least_s) * scale == slack_s(POLL_LEAST_S)
    assert tick_s(20.0 * scale, 100, most_s=least_s) * scale == pytest.approx(tick_s(20.0, 100))


@given(runs=st.integers(1, 900), limit=st.integers(10, 1200))
def test_a_sweep_of_single_questions_leaves_a_fifth_of_the_pace_to_others(runs: int, limit: int) -> None:
    sweep_s = single_sweep_s(runs, Rate(limit, 60.0))
    assert sweep_s <= 240
    assert sweep_s == 240 or runs / sweep_s * 60 == pytest.approx(limit * 0.8)


@pytest.mark.parametrize("runs", [1, 10, 20])
def test_a_few_runs_are_asked_after_every_five_to_ten_seconds_one_by_one_too(runs: int) -> None:
    assert (
        4.7
        <= next_poll_s(1_000_000_000.0, 60.0, single_sweep_s(runs, Rate(300, 60.0)), together=False) - 1_000_000_000.0
        <= 10
    )


@given(now=st.floats(1e9, 2e9), age=st.floats(0, 300))
def test_young_runs_are_asked_after_every_five_to_ten_seconds(now: float, age: float) -> None:
    assert next_poll_s(now, age, list_sweep_s(1, LISTS)) - now <= 10 + 1e-6


@given(now=st.floats(1e9, 2e9), age=st.floats(0, 60), least=st.floats(0.5, 5))
def test_young_runs_are_asked_after_as_often_as_is_set(now: float, age: float, least: float) -> None:
    ahead = next_poll_s(now, age, list_sweep_s(1, LISTS), least_s=least) - now
    assert least * 0.93 <= ahead <= least * 2 + 1e-6
    assert tick_s(100, 1000, most_s=least) <= least


@given(starts=st.floats(0, 1000), flight=st.integers(0, 100_000))
def test_list_calls_are_one_to_five_seconds_apart(starts: float, flight: int) -> None:
    assert 1 <= tick_s(starts, flight) <= POLL_LEAST_S


@pytest.mark.parametrize(
    ("runs", "least_s", "most_s"), [(300, 4.6, 10), (1800, 4.6, 10), (3000, 7, 10), (10_000, 25, 28)]
)
def test_more_runs_in_flight_are_swept_less_often_never_with_more_calls(
    runs: int, least_s: float, most_s: float
) -> None:
    calls = math.ceil(runs / 300)
    ahead = next_poll_s(1_000_000_000.0, 60.0, list_sweep_s(calls, LISTS)) - 1_000_000_000.0
    assert least_s <= ahead <= most_s
    assert calls / ahead <= 1 / 0.7


def test_runs_of_ten_minutes_are_asked_after_every_five_seconds_and_those_of_hours_every_minute() -> None:
    now, sweep = 1_000_000_000.0, list_sweep_s(1, LISTS)
    assert next_poll_s(now, 600.0, sweep) - now == 5
    assert next_poll_s(now, 3600.0, sweep) - now == 30
    assert next_poll_s(now, 10_000.0, sweep) - now <= 60
    assert next_poll_s(now, 3600.0, sweep, together=False) - now == 57.5


@given(strikes=st.integers(-3, 10_000))
def test_backing_off_stays_within_a_second_and_a_minute(strikes: int) -> None:
    assert 1 <= backoff_s(strikes) <= 60


def test_backing_off_doubles() -> None:
    assert [backoff_s(strikes) for strikes in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_deadline_grows_with_the_size() -> None:
    assert upload_deadline_s(0, base_s=60, bytes_per_s=1e6) == 60
    assert upload_deadline_s(250_000_000, base_s=60, bytes_per_s=1e6) == 310


@given(settle=st.floats(0.5, 10_000))
def test_at_least_two_looks_lie_at_or_after_the_settling_time(settle: float) -> None:
    times = reconcile_times_s(settle)
    assert list(times) == sorted(times)
    assert sum(1 for at in times if at >= settle) >= 2


@given(age=st.floats(0, 10_000), settle=st.floats(0.5, 1000))
def test_the_next_look_is_always_ahead(age: float, settle: float) -> None:
    assert next_look_s(age, settle) >= 0.5

"""How long to wait: the arithmetic, and its bounds for any input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.delays import (
    FIRST_POLL_S,
    POLL_GRID_S,
    POLL_LEAST_S,
    POLL_LONGEST_S,
    backoff_s,
    list_sweep_s,
    next_poll_s,
    reconcile_times_s,
    single_sweep_s,
    tick_s,
    upload_deadline_s,
)
from paceline.model import Rate
from paceline.steps.reconciling import next_look_s


def test_the_first_question_comes_one_to_two_seconds_after_the_start() -> None:
    assert 1 <= FIRST_POLL_S <= 2


@given(now=st.floats(1e9, 2e9), age=st.floats(0, 1e6), calls=st.integers(0, 1000))
def test_later_questions_are_five_to_sixty_seconds_apart_and_share_a_grid(now: float, age: float, calls: int) -> None:
    due = next_poll_s(now, age, list_sweep_s(calls))
    assert POLL_LEAST_S - 0.31 <= due - now <= POLL_LONGEST_S + 1e-6
    assert abs(due / POLL_GRID_S - round(due / POLL_GRID_S)) < 1e-6


@given(runs=st.integers(1, 900), limit=st.integers(10, 1200))
def test_a_sweep_of_single_questions_leaves_a_fifth_of_the_pace_to_others(runs: int, limit: int) -> None:
    sweep_s = single_sweep_s(runs, Rate(limit, 60.0))
    assert sweep_s <= 240
    assert sweep_s == 240 or runs / sweep_s * 60 == pytest.approx(limit * 0.8)


@pytest.mark.parametrize("runs", [1, 10, 20])
def test_a_few_runs_are_asked_after_every_five_to_ten_seconds_one_by_one_too(runs: int) -> None:
    assert 4.7 <= next_poll_s(1_000_000_000.0, 60.0, single_sweep_s(runs, Rate(300, 60.0))) - 1_000_000_000.0 <= 10


@given(now=st.floats(1e9, 2e9), age=st.floats(0, 300))
def test_young_runs_are_asked_after_every_five_to_ten_seconds(now: float, age: float) -> None:
    assert next_poll_s(now, age, list_sweep_s(1)) - now <= 10 + 1e-6


@given(now=st.floats(1e9, 2e9), age=st.floats(0, 60), least=st.floats(0.5, 5))
def test_young_runs_are_asked_after_as_often_as_is_set(now: float, age: float, least: float) -> None:
    ahead = next_poll_s(now, age, list_sweep_s(1), least_s=least) - now
    assert least - 0.31 <= ahead <= max(least, 1) * 1.5 + 1e-6
    assert tick_s(100, 1000, most_s=least) <= least


@given(starts=st.floats(0, 1000), flight=st.integers(0, 100_000))
def test_list_calls_are_one_to_five_seconds_apart(starts: float, flight: int) -> None:
    assert 1 <= tick_s(starts, flight) <= POLL_LEAST_S


def test_ten_thousand_runs_are_swept_every_twenty_seconds_not_faster() -> None:
    assert next_poll_s(1_000_000_000.0, 60.0, list_sweep_s(34)) - 1_000_000_000.0 >= 19.7


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

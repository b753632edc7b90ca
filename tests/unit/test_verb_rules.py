"""The rules that verbs decide by, without a process or a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.flower import check_reachable
from cli.output import amount
from cli.pause import one_of
from cli.planning import least_seconds
from cli.run import credits_of
from paceline.errors import ConfigError, UsageError
from paceline.model import Rate

EVERYWHERE = "0.0.0.0"  # noqa: S104  # the very thing that is refused


def earliest_times(submissions: int, rate: Rate, window_s: float) -> list[float]:
    """Send each as early as a sliding window allows: the model that the formula is held against."""
    times: list[float] = []
    for index in range(submissions):
        times.append(0.0 if index < rate.limit else times[index - rate.limit] + window_s)
    return times


@given(st.integers(1, 400), st.integers(1, 60))
def test_the_estimate_is_the_last_start_that_a_sliding_window_allows(submissions: int, limit: int) -> None:
    times = earliest_times(submissions, Rate(limit, 60.0), 61.1)
    assert least_seconds(submissions, Rate(limit, 60.0), 61.1) == pytest.approx(times[-1])


def test_nothing_to_send_takes_no_time() -> None:
    assert least_seconds(0, Rate(40, 60.0), 61.1) == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_flower_needs_no_password_on_this_machine_alone(address: str) -> None:
    check_reachable(address, password="")


@pytest.mark.parametrize("address", [EVERYWHERE, "::", "", "192.168.1.7", "example.org", "127.0.0.1.example.org"])
@pytest.mark.parametrize("password", ["", "user", "user:", ":secret"])
def test_flower_is_refused_to_other_machines_without_a_password(address: str, password: str) -> None:
    with pytest.raises(ConfigError, match="FLOWER_BASIC_AUTH"):
        check_reachable(address, password=password)


def test_flower_with_a_password_may_listen_anywhere() -> None:
    check_reachable(EVERYWHERE, password="user:secret")


@pytest.mark.parametrize(("batch", "account"), [(None, None), ("b", "kolena")])
def test_pause_wants_either_a_batch_or_an_account(batch: str | None, account: str | None) -> None:
    with pytest.raises(UsageError, match="BATCH or --account"):
        one_of(batch, account)


@pytest.mark.parametrize(
    ("credits", "shown"),
    [(0.0, "0"), (1.5, "1.5"), (11992.0, "11,992"), (1_234_567.25, "1,234,567.25"), (1e15, "1,000,000,000,000,000")],
)
def test_credits_are_shown_to_the_hundredth_whatever_their_number(credits: float, shown: str) -> None:
    assert amount(credits) == shown


@pytest.mark.parametrize(
    ("credits", "runs", "shown"),
    [
        (None, 0, "not reported"),
        (None, 3, "not reported"),
        (4.0, 1, "4"),
        (10.0, 3, "10 · 3.33 a run"),
        (0.0, 2, "0 · 0 a run"),
    ],
)
def test_the_mean_of_a_run_stands_beside_the_credits(credits: float | None, runs: int, shown: str) -> None:
    assert credits_of(credits, runs) == shown

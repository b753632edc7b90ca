"""The rules that verbs decide by, without a process or a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.flower import check_reachable
from cli.hooks import kolena_account, read_secret
from cli.output import amount
from cli.pause import one_of
from cli.totals import credits_of
from config.settings import load_settings
from paceline.errors import ConfigError, CredentialsError, UsageError
from paceline.model import Rate
from producers.estimating import least_seconds

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
    ("variables", "name", "found"),
    [
        ({"KOLENA_API_KEY": "k"}, None, "kolena"),
        ({"KOLENA_API_KEY": "k", "KINDO_API_KEY": "k"}, None, "kolena"),
        ({"KOLENA_API_KEY": "k", "PACELINE_ACCOUNTS__EU__PROVIDER": "kolena"}, "eu", "eu"),
        ({"KOLENA_API_KEY": "k", "PACELINE_ACCOUNTS__EU__PROVIDER": "kolena"}, None, "several Kolena accounts"),
        ({"KOLENA_API_KEY": "k", "KINDO_API_KEY": "k"}, "kindo", "kindo sends no hints"),
        ({"KINDO_API_KEY": "k"}, None, "no Kolena account"),
        ({"KOLENA_API_KEY": "k"}, "other", "other"),
    ],
)
def test_hooks_are_for_one_kolena_account(
    variables: dict[str, str], name: str | None, found: str, tmp_path: Path
) -> None:
    settings = load_settings(variables, tmp_path)
    if found in settings.accounts:
        assert kolena_account(settings, name).name == found
    else:
        with pytest.raises(ConfigError, match=found):
            kolena_account(settings, name)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_hooks_want_a_secret_and_name_its_variable(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK_SECRET", value)
    with pytest.raises(CredentialsError, match="HOOK_SECRET"):
        read_secret("HOOK_SECRET")


def test_a_secret_is_taken_without_what_a_shell_leaves_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", " s3cret\n")
    assert read_secret("HOOK_SECRET") == b"s3cret"


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

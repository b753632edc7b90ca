"""The options that say how a batch is run: what is taken, and what is refused with which words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cli.asked import Asked, choices_of, default_choices, inputs_of, merged
from config.accounts import Account
from paceline.errors import UsageError

KOLENA = Account.model_validate({"name": "kolena"})
KINDO = Account.model_validate({"name": "kindo"})


def asked(**options: object) -> Asked:
    return Asked(("files",), "kolena:1", ("out",), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "choices"),
    [
        ({}, {}),
        ({"wait_seconds": "30"}, {"wait": "30"}),
        ({"wait_seconds": "auto"}, {"wait": "auto"}),
        ({"wait_seconds": "0"}, {"wait": "0"}),
        ({"due": "2999-01-01T10:00+01:00"}, {"due": "2999-01-01T09:00:00+00:00"}),
        ({"max_runs": 7, "max_credits": 1234567.5}, {"max_runs": "7", "max_credits": "1234567.5"}),
        (
            {"max_runs": 0, "max_credits": 0.0, "max_failures": "none"},
            {"max_runs": "", "max_credits": "", "max_failures": ""},
        ),
        ({"max_failures": "012"}, {"max_failures": "12"}),
        ({"max_failures": "2.50%"}, {"max_failures": "2.5%"}),
        ({"isolate": True}, {"isolate": "50"}),
        ({"isolate_runs": 8}, {"isolate": "8"}),
    ],
)
def test_what_is_asked_for_becomes_a_choice(options: dict[str, object], choices: dict[str, str]) -> None:
    assert choices_of(asked(**options), KOLENA) == choices


@pytest.mark.parametrize(
    ("account", "options", "words"),
    [
        (KOLENA, {"wait_seconds": "121"}, "waits at most 120"),
        (KOLENA, {"wait_seconds": "100000"}, "waits at most 120"),
        (KOLENA, {"wait_seconds": "soon"}, "a number of seconds, or auto"),
        (KINDO, {"wait_seconds": "5"}, "kindo can't wait"),
        (KOLENA, {"due": "tomorrow"}, "like 2026"),
        (KOLENA, {"due": "0001-01-01T00:00+14:00"}, "like 2026"),
        (KOLENA, {"due": "2020-01-01"}, "has passed"),
        (KINDO, {"due": "2999-01-01"}, "kindo takes no due date"),
        (KOLENA, {"due": "2999-01-01", "wait_seconds": "30"}, "takes no due date"),
        (KOLENA, {"max_credits": float("nan")}, "a number of credits"),
        (KINDO, {"max_credits": 5.0}, "use --max-runs"),
        (KOLENA, {"max_failures": "101%"}, "a share like 5%"),
        (KOLENA, {"max_failures": "-1"}, "a share like 5%"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_remedy(
    account: Account, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        choices_of(asked(**options), account)


def test_a_time_without_a_zone_is_this_machines() -> None:
    there = datetime.fromisoformat(choices_of(asked(due="2999-06-01T12:00"), KOLENA)["due"])
    assert there == datetime(2999, 6, 1, 12, tzinfo=UTC).replace(tzinfo=None).astimezone(UTC)


def test_an_accounts_wish_holds_for_new_batches_that_say_nothing() -> None:
    waiting = KOLENA.model_copy(update={"wait_seconds": 20})
    assert default_choices(waiting) == {"wait": "20"}
    assert default_choices(KOLENA) == {}
    assert merged(default_choices(waiting), {"wait": "0", "max_runs": ""}) == {"wait": "0"}


def test_inputs_are_names_and_values() -> None:
    assert inputs_of(asked(inputs=("language=de", "note=a=b", "empty="))) == {
        "input:language": "de",
        "input:note": "a=b",
        "input:empty": "",
    }
    for wrong in (("language",), ("=de",), ("a=1", "a=2")):
        with pytest.raises(UsageError, match="--input"):
            inputs_of(asked(inputs=wrong))

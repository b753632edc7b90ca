"""What becomes of due times, which night goes on, and what is told: pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.exits import Exit, exit_of_summary
from paceline.ending import Ended, ended
from paceline.schedules.deciding import Rules, decide, to_take
from paceline.schedules.due import ms_of
from paceline.schedules.judging import End, Event, describe, events, is_through
from paceline.schedules.night import Night, NightState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATE = 300.0


def ago(*minutes: float) -> list[datetime]:
    return [NOW - timedelta(minutes=one) for one in minutes]


def outcome(rules: Rules, dues: list[datetime], *, busy: bool = False, paused: bool = False) -> list[str]:
    found = decide(rules, dues, busy=busy, paused=paused, now=NOW)
    assert [one.due for one in found] == dues
    return [one.reason or one.state.value for one in found]


@pytest.mark.parametrize(
    ("catch_up", "outcomes"),
    [
        ("latest", ["missed", "missed", "starting"]),
        ("all", ["starting", "waiting", "waiting"]),
        ("none", ["missed", "missed", "missed"]),
    ],
)
def test_due_times_that_passed_while_nothing_ticked(catch_up: str, outcomes: list[str]) -> None:
    assert outcome(Rules(catch_up), ago(180, 120, 60)) == outcomes


def test_one_that_is_noticed_in_time_is_started_whatever_is_caught_up() -> None:
    for catch_up in ("latest", "all", "none"):
        assert outcome(Rules(catch_up), ago(4.9)) == ["starting"]


def test_the_latest_is_the_one_in_time_where_there_is_one() -> None:
    assert outcome(Rules("latest"), ago(120, 60, 0)) == ["missed", "missed", "starting"]
    assert outcome(Rules("none"), ago(120, 60, 0)) == ["missed", "missed", "starting"]


def test_while_a_night_is_open_the_next_is_left_out_or_waits() -> None:
    assert outcome(Rules("latest"), ago(0), busy=True) == ["overlap"]
    assert outcome(Rules("latest", queues=True), ago(1, 0), busy=True) == ["waiting", "waiting"]
    assert outcome(Rules("latest"), ago(60), busy=True) == ["overlap"]
    assert outcome(Rules("all"), ago(60, 0), busy=True) == ["waiting", "overlap"]


def test_a_paused_schedule_leaves_everything_out() -> None:
    for rules in (Rules("all", queues=True), Rules("latest"), Rules("none")):
        assert outcome(rules, ago(120, 0), paused=True) == ["paused", "paused"]


@given(
    catch_up=st.sampled_from(["latest", "all", "none"]),
    queues=st.booleans(),
    busy=st.booleans(),
    minutes=st.lists(st.integers(0, 600), unique=True, max_size=8),
)
def test_never_are_two_nights_started_at_once(catch_up: str, queues: bool, busy: bool, minutes: list[int]) -> None:
    found = outcome(Rules(catch_up, queues), ago(*sorted(minutes, reverse=True)), busy=busy)
    assert found.count("starting") <= (not busy)
    if catch_up == "all":
        assert "missed" not in found


def night(state: NightState, minutes: float = 60, **more: Any) -> Night:
    return Night("n", ms_of(NOW) - round(minutes * 60_000), state, **more)


def test_the_first_that_waits_goes_on_when_nothing_is_open() -> None:
    waiting = [(night(NightState.WAITING, 30), False), (night(NightState.WAITING, 20), False)]
    done, running = (night(NightState.STARTED), True), (night(NightState.STARTED), False)
    assert to_take([done, *waiting], paused=False, now=NOW) == waiting[0][0]
    assert to_take([running, *waiting], paused=False, now=NOW) is None
    assert to_take([done, *waiting], paused=True, now=NOW) is None
    assert to_take([*waiting[:1], running], paused=False, now=NOW) is None


def test_one_that_was_abandoned_is_taken_even_while_the_schedule_is_paused() -> None:
    abandoned = night(NightState.STARTING, lease_ms=ms_of(NOW) - 1)
    held = night(NightState.STARTING, lease_ms=ms_of(NOW) + 1)
    assert to_take([(abandoned, False)], paused=True, now=NOW) == abandoned
    assert to_take([(held, False), (night(NightState.WAITING), False)], paused=False, now=NOW) is None


# --- judging


def summary(state: str = "running", **more: Any) -> dict[str, Any]:
    counts = {"total": 3, "exported": 1, "held": 0, **more.pop("submissions", {})}
    files = {"total": 9, "succeeded": 3, "failed": 0, "cancelled": 0, "skipped": 0, **more.pop("files", {})}
    return {"state": state, "submissions": counts, "files": files, "duplicate_runs": 0, "left_out": {}, **more}


@given(
    state=st.sampled_from(["running", "complete", "planning"]),
    total=st.integers(0, 2),
    held=st.integers(0, 1),
    failed=st.integers(0, 1),
    cancelled=st.integers(0, 1),
    skipped=st.integers(0, 1),
    duplicates=st.integers(0, 1),
    unchanged=st.integers(0, 1),
    tolerated=st.booleans(),
)
def test_a_batch_ends_as_the_exit_code_says(
    state: str,
    total: int,
    held: int,
    failed: int,
    cancelled: int,
    skipped: int,
    duplicates: int,
    unchanged: int,
    tolerated: bool,
) -> None:
    value = summary(
        state,
        submissions={"total": total, "exported": max(total - held, 0), "held": min(held, total)},
        files={"failed": failed, "cancelled": cancelled, "skipped": skipped},
        duplicate_runs=duplicates,
        left_out={"unchanged": unchanged},
    )
    same = {
        Exit.DONE: Ended.DONE,
        Exit.FAILURES: Ended.FAILURES,
        Exit.RUNNING: Ended.OPEN,
        Exit.HELD: Ended.HELD,
        Exit.NOTHING_USABLE: Ended.UNUSABLE,
        Exit.NOTHING_TO_DO: Ended.NOTHING,
    }
    assert ended(value, tolerated=tolerated, paused=None) is same[exit_of_summary(value, tolerated=tolerated)]


@pytest.mark.parametrize(
    ("paused", "how"),
    [
        ("too_many_failures", Ended.FAILURES),
        ("access_denied", Ended.HELD),
        ("max_runs", Ended.HELD),
        ("by_person", Ended.OPEN),
        ("cancelled", Ended.OPEN),
        (None, Ended.OPEN),
    ],
)
def test_a_pause_needs_a_person_unless_a_person_made_it(paused: str | None, how: Ended) -> None:
    assert ended(summary(), tolerated=False, paused=paused) is how


def told(one: Night, end: End, *, success: bool = False, minutes: float = 0) -> list[str]:
    found = events(one, end, ms_of(NOW) + round(minutes * 60_000), tell_success=success)
    assert all(describe(event, one, end) for event in found)
    return [event.value for event in found]


RUNNING, DONE = End(Ended.OPEN), End(Ended.DONE, summary("complete"), ms_of(NOW), closed=True)
DUE: dict[str, Any] = {"asked": {"deadline_ms": ms_of(NOW)}}


def test_a_deadline_is_missed_by_what_is_not_complete_then() -> None:
    for state in (NightState.WAITING, NightState.STARTING, NightState.STARTED):
        assert told(night(state, **DUE), RUNNING) == []
        assert told(night(state, **DUE), RUNNING, minutes=1) == ["deadline_missed"]
    assert told(night(NightState.STARTED, **DUE), DONE, minutes=60) == []


def test_a_deadline_that_nobody_watched_is_told_afterwards() -> None:
    late = End(Ended.DONE, summary("complete"), ms_of(NOW) + 1, closed=True)
    assert told(night(NightState.STARTED, **DUE), late) == ["deadline_missed"]


@pytest.mark.parametrize(
    ("one", "end", "said"),
    [
        (night(NightState.FAILED, error="x"), RUNNING, ["not_started"]),
        (night(NightState.SKIPPED, reason="overlap"), RUNNING, ["skipped"]),
        (night(NightState.SKIPPED, reason="missed"), RUNNING, []),
        (night(NightState.SKIPPED, reason="paused"), RUNNING, []),
        (night(NightState.STARTED), End(Ended.FAILURES), ["failed"]),
        (night(NightState.STARTED), End(Ended.UNUSABLE), ["failed"]),
        (night(NightState.STARTED), End(Ended.HELD), ["held"]),
        (night(NightState.STARTED), DONE, []),
        (night(NightState.STARTED), End(Ended.GONE), []),
    ],
)
def test_what_is_told(one: Night, end: End, said: list[str]) -> None:
    assert told(one, end) == said


def test_a_good_end_is_told_only_if_that_is_wanted() -> None:
    assert told(night(NightState.STARTED), DONE, success=True) == [Event.SUCCEEDED]
    assert told(night(NightState.SKIPPED, reason="nothing_to_do"), RUNNING, success=True) == [Event.SUCCEEDED]


def test_what_is_told_says_in_words_what_became_of_the_night() -> None:
    one = night(NightState.STARTED, **DUE)

    def words(event: Event, how: Ended, **files: int) -> str:
        found = {"files": {"total": 3, "succeeded": 0, "failed": 0, "skipped": 0} | files}
        return describe(event, one, End(how, found, 1_795_366_767_631, closed=True)).split(" ", 2)[2]

    assert words(Event.DEADLINE, Ended.DONE, succeeded=3).endswith(
        "missed its deadline: it was complete at 2026-11-22T16:59:27.631Z, 3 of 3 files succeeded"
    )
    assert words(Event.SUCCEEDED, Ended.DONE, succeeded=3).endswith("is done: 3 of 3 files succeeded")
    assert words(Event.SUCCEEDED, Ended.NOTHING, skipped=3).endswith("had nothing to do")
    assert words(Event.FAILED, Ended.UNUSABLE, skipped=3).endswith("failed: no file passed the checks, 3 left out")
    assert words(Event.FAILED, Ended.FAILURES, failed=1, succeeded=2).endswith("2 of 3 files succeeded, 1 failed")


def test_a_night_is_through_when_its_batch_is() -> None:
    assert not is_through(night(NightState.STARTED), RUNNING)
    assert not is_through(night(NightState.STARTED), End(Ended.FAILURES))  # paused by failures: it may go on
    assert is_through(night(NightState.STARTED), DONE)
    assert is_through(night(NightState.FAILED), RUNNING)
    assert not is_through(night(NightState.WAITING), RUNNING)

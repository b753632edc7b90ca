"""Nights in a real Redis on a clock moved by hand: each due time starts one batch at most, whatever dies or repeats."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paceline import redis_keys as keys
from paceline.errors import UsageError
from paceline.schedules.deciding import MOST_TRIES, MOST_WAITING
from paceline.schedules.due import Cron, ms_of
from paceline.schedules.judging import Event
from paceline.schedules.night import Night, NightState, Skip
from paceline.schedules.nights import KEPT
from paceline.schedules.telling import message_id
from paceline.schedules.ticking import Carry, Plan, note_paused
from tests.support.night_machine import CLOCK, LATE_S, LEASE_S, START, Machine


@pytest.fixture
def machine(real_redis: Any) -> Machine:
    return Machine(real_redis)


def test_a_schedule_that_is_new_begins_with_its_next_due_time(machine: Machine) -> None:
    machine.tick()
    assert machine.outcomes() == []
    machine.pass_(3600)
    machine.tick()
    assert machine.outcomes() == ["starting"]


def test_other_times_make_a_schedule_begin_anew(machine: Machine) -> None:
    machine.tick()
    machine.pass_(5 * 3600)
    machine.plan = Plan("n", Cron("15 * * * *"), machine.plan.rules, machine.pin)
    machine.tick()
    assert machine.outcomes() == []
    machine.pass_(3600)
    machine.tick()
    assert machine.outcomes() == ["starting"]


def test_ten_ticks_at_a_due_time_start_it_once(machine: Machine) -> None:
    machine.tick()
    machine.pass_(1800)
    for _ in range(5):
        machine.two_at_once()
    assert len(machine.carriers) == 1
    assert machine.outcomes() == ["starting"]


def test_who_decided_on_an_older_view_is_refused(machine: Machine) -> None:
    """Else an hour later's tick that read before, and writes after, would start a second night beside the first."""
    machine.tick()
    machine.pass_(1800)
    standing = machine.nights.see("n", machine.plan.key)
    machine.tick()
    due = ms_of(machine.now) + 3_600_000
    asked = {"due": "x"}
    args = ("n", due, NightState.STARTING, asked)
    assert machine.nights.claim(*args, holder="w", lease_s=9, decided_ms=standing.decided_ms) == 0
    assert machine.nights.find("n", due) is None


def test_a_holder_who_is_silent_is_replaced_and_then_has_no_say(machine: Machine) -> None:
    machine.tick()
    machine.pass_(1800)
    machine.tick()
    first = machine.carriers.pop()
    machine.pass_(LEASE_S - 1)
    machine.tick()
    assert machine.carriers == []
    machine.pass_(1)
    machine.tick()
    second = machine.carriers.pop()
    assert second.due_ms == first.due_ms
    assert not machine.begin(first)
    assert not machine.nights.end("n", first.due_ms, first.holder, NightState.FAILED)
    machine.carry(second)
    assert machine.outcomes() == ["started"]


def test_a_lease_is_kept_for_as_long_as_it_is_renewed(machine: Machine) -> None:
    machine.tick()
    machine.pass_(1800)
    machine.tick()
    (one,) = machine.carriers
    for _ in range(5):
        machine.pass_(LEASE_S - 1)
        assert machine.nights.keep("n", one.due_ms, one.holder, LEASE_S)
        machine.tick()
    assert machine.carriers == [one]


def test_a_night_whose_process_dies_each_time_is_given_up(machine: Machine) -> None:
    machine.tick()
    machine.pass_(1800)
    for _ in range(MOST_TRIES + 1):
        machine.tick()
        machine.begin(machine.carriers[-1])
        machine.pass_(LEASE_S)
    (night,) = machine.nights.last("n")
    assert night.batch in machine.opened  # what was begun stays what it is
    assert (night.state, len(machine.carriers)) == (NightState.FAILED, MOST_TRIES)
    assert "died" in night.error


def test_a_night_that_cannot_be_made_is_noted_with_the_reason(machine: Machine) -> None:
    def refuse(due: datetime) -> dict[str, Any]:
        raise UsageError("no such place")

    machine.tick()
    machine.pass_(1800)
    machine.plan = Plan("n", machine.plan.times, machine.plan.rules, refuse)
    machine.tick()
    (night,) = machine.nights.last("n")
    assert (night.state, night.error, machine.carriers) == (NightState.FAILED, "no such place", [])


def test_while_a_batch_runs_the_next_night_is_left_out(machine: Machine) -> None:
    machine.tick()
    for _ in range(2):
        machine.pass_(3600)
        machine.tick()
        for one in machine.carriers:
            machine.carry(one)
        machine.carriers.clear()
    assert machine.outcomes() == ["started", "overlap"]


def test_with_queue_it_waits_and_starts_when_the_one_before_is_complete(real_redis: Any) -> None:
    machine = Machine(real_redis, queues=True)
    machine.tick()
    machine.pass_(1800)
    machine.tick()
    machine.carry(machine.carriers.pop())
    machine.pass_(3600)
    machine.tick()
    machine.tick()
    assert (machine.outcomes(), machine.carriers) == (["started", "waiting"], [])
    machine.finish_all()
    machine.two_at_once()
    machine.carry(machine.carriers.pop())
    assert (machine.outcomes(), machine.carriers) == (["started", "started"], [])


@pytest.mark.parametrize(
    ("catch_up", "outcomes"),
    [
        ("latest", ["missed", "missed", "started"]),
        ("all", ["started", "started", "started"]),
        ("none", ["missed", "missed", "missed"]),
    ],
)
def test_after_a_night_without_ticks(real_redis: Any, catch_up: str, outcomes: list[str]) -> None:
    machine = Machine(real_redis, catch_up=catch_up)
    machine.tick()
    machine.pass_(3 * 3600)  # from half past to half past: all are late
    machine.settle()
    assert machine.outcomes() == outcomes
    assert machine.most_open <= 1


def test_the_due_times_of_a_pause_are_not_caught_up(real_redis: Any) -> None:
    machine = Machine(real_redis, catch_up="all")
    machine.tick()
    assert machine.nights.pause("n", ms_of(machine.now), "me@here", "moving")
    assert not machine.nights.pause("n", ms_of(machine.now), "you@there", "later")
    machine.pass_(3600)
    machine.tick()
    machine.pass_(7200)  # nobody ticks
    note_paused(machine.plan, machine.nights)
    assert machine.nights.find_pause("n") is not None
    assert machine.nights.resume("n")
    machine.settle()
    assert machine.outcomes() == ["paused"] * 3
    machine.pass_(1800)
    machine.tick()
    assert machine.outcomes()[-1] == "starting"


def test_an_extra_night_neither_hides_nor_repeats_a_due_time(machine: Machine) -> None:
    machine.tick()
    due = ms_of(START.replace(minute=0) + timedelta(hours=1))
    claim = machine.nights.claim
    args = ("n", due, NightState.STARTING, machine.pin(START))
    machine.pass_(1800)
    assert claim(*args, holder="me", lease_s=LEASE_S, decided_ms=None) == 1
    assert claim(*args, holder="you", lease_s=LEASE_S, decided_ms=None) == 2
    machine.tick()
    assert (machine.outcomes(), machine.carriers) == (["starting"], [])
    machine.carry(Carry("n", due, "me"))
    machine.finish_all()
    machine.pass_(3600)
    machine.tick()
    assert machine.outcomes() == ["started", "starting"]


def test_a_person_starts_again_what_was_left_out_and_nothing_else(machine: Machine) -> None:
    machine.tick()
    machine.pass_(4 * 3600)
    machine.tick()
    missed, *_, running = machine.nights.last("n")
    assert not machine.nights.again("n", running.due_ms, "me", LEASE_S, {"new": 1})
    assert machine.nights.again("n", missed.due_ms, "me", LEASE_S, {"new": 1})
    assert not machine.nights.again("n", missed.due_ms, "you", LEASE_S, {"new": 2})
    found = machine.nights.find("n", missed.due_ms)
    assert found is not None
    assert (found.asked, found.state) == ({"new": 1}, NightState.STARTING)


def test_settling_a_night_that_is_no_longer_kept_leaves_nothing(machine: Machine, real_redis: Any) -> None:
    machine.tick()
    machine.pass_(1800)
    machine.tick()
    (seen,) = machine.nights.last("n")
    real_redis.delete(keys.night("n", seen.due_ms))
    machine.nights.settle(seen, "started")
    machine.nights.note_told(seen, "failed", 7)
    assert not real_redis.exists(keys.night("n", seen.due_ms))


def test_what_is_asked_of_a_night_that_was_begun_stays(machine: Machine) -> None:
    machine.tick()
    machine.pass_(1800)
    machine.tick()
    (one,) = machine.carriers
    machine.begin(one)
    end = machine.nights.end
    assert end("n", one.due_ms, one.holder, NightState.FAILED, error="x", begun=True)
    assert machine.nights.again("n", one.due_ms, "me", LEASE_S, {"new": 1})
    found = machine.nights.find("n", one.due_ms)
    assert found is not None
    assert "new" not in found.asked
    assert end("n", one.due_ms, "me", NightState.FAILED, error="x")  # the ledger hasn't heard of it after all
    assert machine.nights.again("n", one.due_ms, "me", LEASE_S, {"new": 1})
    found = machine.nights.find("n", one.due_ms)
    assert found is not None
    assert (found.asked, found.batch) == ({"new": 1}, None)


def test_a_hundred_nights_are_kept_and_those_that_are_not_through(real_redis: Any) -> None:
    machine = Machine(real_redis, cron="* * * * *")
    machine.tick()
    machine.pass_(60)
    machine.tick()
    machine.carry(machine.carriers.pop())
    for _ in range(KEPT + 20):
        machine.pass_(60)
        machine.tick()
        for night in machine.nights.last("n", 1):
            machine.nights.settle(night, "skipped")
    found = machine.nights.last("n")
    assert found[0].state is NightState.STARTED  # it still runs, and everything after it was left out
    assert {night.reason for night in found[1:]} == {Skip.OVERLAP}
    assert KEPT <= len(found) <= KEPT + 2
    assert len(real_redis.keys(keys.night("n", "*"))) == len(found)


# --- telling


def test_of_an_event_is_told_by_one_at_a_time_with_growing_pauses(machine: Machine) -> None:
    machine.tick()
    machine.pass_(1800)
    machine.tick()
    (night,) = machine.nights.last("n")
    assert machine.nights.tell(night, "failed", 60, 3) == 1
    assert machine.nights.tell(night, "failed", 60, 3) == 0
    assert machine.nights.tell(night, "held", 60, 3) == 1
    machine.pass_(60)
    assert machine.nights.tell(night, "failed", 60, 3) == 2
    machine.pass_(119)
    assert machine.nights.tell(night, "failed", 60, 3) == 0
    machine.pass_(1)
    assert machine.nights.tell(night, "failed", 60, 3) == 3
    machine.pass_(3600)
    assert machine.nights.tell(night, "failed", 60, 3) == -1
    machine.nights.note_told(night, "held", 7)
    machine.pass_(3600)
    assert machine.nights.tell(night, "held", 60, 3) == -1
    (night,) = machine.nights.last("n")
    assert night.told == {"failed": "given up", "held": "7"}


# --- everything at random

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([1, 20, 61, 299, 900, 3600, 3 * 3600])),
        st.tuples(st.sampled_from(["tick", "two", "carry", "die early", "die late", "finish"]), st.just(0)),
    ),
    max_size=60,
)


@given(steps=STEPS, catch_up=st.sampled_from(["latest", "all", "none"]), queues=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_due_time_starts_one_batch_at_most_whatever_happens(
    real_redis: Any, steps: list[tuple[str, int]], catch_up: str, queues: bool
) -> None:
    machine = Machine(real_redis, cron="*/20 * * * *", catch_up=catch_up, queues=queues)
    machine.tick()
    for step, seconds in steps:
        match step:
            case "pass":
                machine.pass_(seconds)
            case "tick":
                machine.tick()
            case "two":
                machine.two_at_once()
            case "finish":
                machine.finish_all()
            case _ if machine.carriers:
                one = machine.carriers.pop(0)
                if step == "carry":
                    machine.carry(one)
                elif step == "die late":
                    machine.begin(one)
    machine.settle()

    nights = machine.nights.last("n")
    dues = [ms_of(due) for due in machine.plan.times.between(START, machine.now, 10**6)]
    assert [night.due_ms for night in nights] == dues[-len(nights) :]
    assert len(nights) == len(dues) or len(nights) >= KEPT
    assert machine.most_open <= 1
    started = {f"batch of {night.asked['schedule']}" for night in nights if night.state is NightState.STARTED}
    assert started == machine.opened.keys()
    for night in nights:
        late = night.noted_ms - night.due_ms > LATE_S * 1000
        if night.state is NightState.STARTED and late:
            assert catch_up != "none"
        if night.reason == Skip.MISSED:
            assert late
            assert catch_up != "all"
        if night.reason == Skip.OVERLAP:
            assert not queues
            assert not (late and catch_up == "all")
    if catch_up == "latest":  # of those noticed together, the last is never among the missed
        for _, together in itertools.groupby(nights, key=lambda night: night.noted_ms):
            assert list(together)[-1].reason != Skip.MISSED


def test_an_error_that_names_a_file_of_any_name_is_noted(machine: Machine) -> None:
    machine.tick()
    machine.pass_(3600)
    machine.tick()
    (one,) = machine.carriers
    error = "no room for 'b\udcff'"
    assert machine.nights.put_back("n", one.due_ms, one.holder, error=error)
    assert machine.nights.last("n")[0].error == error
    assert machine.nights.pause("n", 1, "me", error)
    pause = machine.nights.find_pause("n")
    assert pause is not None
    assert pause.reason == error


def test_settings_that_take_turns_are_logged(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    other = Plan("n", Cron("30 * * * *"), machine.plan.rules, machine.pin)
    for plan in (machine.plan, machine.plan, other, machine.plan):
        machine.plan = plan
        machine.tick()
    found = [vars(one) for one in caplog.records if one.message == "schedule.begins_anew"]
    assert [one["former"] for one in found] == ["0 * * * * UTC", "30 * * * * UTC"]


def test_a_night_that_is_started_again_is_not_settled_by_who_looked_before(machine: Machine) -> None:
    machine.tick()
    machine.pass_(3600)
    machine.tick()
    (one,) = machine.carriers
    assert machine.nights.end("n", one.due_ms, one.holder, NightState.FAILED, error="no source")
    (looked_at,) = machine.nights.last("n")
    assert machine.nights.again("n", one.due_ms, "person", LEASE_S, {})
    machine.nights.settle(looked_at, "failed")
    assert machine.nights.last("n")[0].settled == ""
    assert machine.nights.end("n", one.due_ms, "person", NightState.FAILED, error="no source")
    machine.nights.settle(machine.nights.last("n")[0], "failed")
    assert machine.nights.last("n")[0].settled == "failed"


def test_a_night_that_is_settled_never_keeps_the_next_one_back(machine: Machine) -> None:
    machine.tick()
    machine.pass_(1800)
    machine.tick()
    machine.carry(machine.carriers.pop())
    machine.nights.settle(machine.nights.last("n")[0], "done")  # and a person has some of its batch sent again

    def asked_about(night: Night) -> bool:
        raise AssertionError(f"the ledger is asked about {night}")

    machine.is_complete = asked_about  # type: ignore[method-assign]  # each look at a batch costs round trips
    machine.pass_(3600)
    machine.tick()
    assert machine.outcomes() == ["started", "starting"]


def test_what_a_night_comes_to_that_is_started_again_is_told_again(machine: Machine) -> None:
    machine.tick()
    machine.pass_(3600)
    machine.tick()
    (one,) = machine.carriers
    assert machine.nights.end("n", one.due_ms, one.holder, NightState.FAILED, error="no source")
    (failed,) = machine.nights.last("n")
    for event in (Event.NOT_STARTED, Event.DEADLINE):
        machine.nights.note_told(failed, event.value, 1)
    assert machine.nights.tell(failed, Event.NOT_STARTED.value, 60.0, 5) == -1

    assert machine.nights.again("n", one.due_ms, "person", LEASE_S, {})

    (again,) = machine.nights.last("n")
    assert machine.nights.tell(again, Event.NOT_STARTED.value, 60.0, 5) == 1
    assert machine.nights.tell(again, Event.DEADLINE.value, 60.0, 5) == -1  # that is as late as it was
    assert message_id(Event.NOT_STARTED, again) == message_id(Event.NOT_STARTED, failed) + "_1"


def test_a_queue_that_is_full_leaves_nights_out(real_redis: Any) -> None:
    machine = Machine(real_redis, queues=True)
    machine.tick()
    for _ in range(MOST_WAITING + 3):
        machine.pass_(3600)
        machine.tick()
        for one in machine.carriers:
            machine.carry(one)  # it never ends
        machine.carriers.clear()
    outcomes = [night.reason or night.state.value for night in machine.nights.last("n")]
    assert outcomes == ["started", *["waiting"] * MOST_WAITING, "overlap", "overlap"]


def test_a_schedule_that_nobody_looks_at_is_forgotten_some_day(machine: Machine, real_redis: Any) -> None:
    machine.nights.pause("n", 1, "me", "moving house")
    machine.tick()
    machine.pass_(3600)
    machine.tick()
    names = [name.decode() for name in real_redis.scan_iter("pl:*") if name != CLOCK.encode()]
    assert len([name for name in names if "night" in name or "schedule" in name]) == 3
    assert [name for name in names if real_redis.pttl(name) < 0] == []

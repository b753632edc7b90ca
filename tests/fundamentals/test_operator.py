"""The manual, part nine: what a person can limit, stop and end."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from paceline.errors import Ambiguous, NotSent, Refused, Unreachable
from paceline.model import Choice, EndpointClass, Outcome, RunView, State, submission_id
from paceline.providers.base import SubmitRequest
from paceline.replies import Begun, Moved, Wait
from paceline.steps.context import Waits
from tests.support.fake_provider import CAPABILITIES, lost_answer
from tests.support.seam import Mode
from tests.support.world import World


def fail_every(world: World, nth: int) -> None:
    """Let every nth run fail."""
    world.provider.outcome = lambda external: Outcome.FAILED if int(external[-6:]) % nth == 0 else Outcome.SUCCEEDED


def paused(world: World, batch: str) -> str | None:
    return world.views.batch(batch).paused


# -- caps --------------------------------------------------------------------------------------------------------------


def test_no_more_runs_are_started_than_allowed() -> None:
    world = World()
    batch = world.plan(30, choices={Choice.MAX_RUNS: "7"})
    world.run(600)
    assert len(world.provider.runs) == 7
    assert world.states(batch) == {"planned": 23, "exported": 7}
    view = world.views.batch(batch)
    assert (view.paused, view.paused_message) == (
        "max_runs",
        "7 runs were started, and no more than 7 are allowed; give a higher --max-runs to go on",
    )


def test_a_higher_cap_goes_on_where_it_stopped() -> None:
    world = World()
    batch = world.plan(10, choices={Choice.MAX_RUNS: "4"})
    world.run(600)
    world.ledger.choose(batch, {Choice.MAX_RUNS: ""})
    _, follow = world.ledger.resume("fake", batch=batch, reason="max_runs")
    world.send([follow] if follow else [])
    world.run()
    assert world.states(batch) == {"exported": 10}
    assert len(world.provider.runs) == 10


def test_what_may_have_been_started_counts_until_it_is_known() -> None:
    world = World()
    world.provider.on_submit = lost_answer  # nothing was accepted, but nobody can know that yet
    batch = world.plan(10, choices={Choice.MAX_RUNS: "3"})
    world.run(60)
    assert len(world.provider.arrivals) == 3
    assert world.states(batch) == {"planned": 7, "uncertain": 3}
    assert paused(world, batch) is None
    world.provider.on_submit = None
    world.run()
    assert len(world.provider.runs) == 3
    assert paused(world, batch) == "max_runs"


def test_a_held_submission_may_have_a_run_and_counts() -> None:
    world = World()
    world.provider.capabilities = replace(CAPABILITIES, finds_many=0, asks_after_many=0)
    world.restart()
    world.provider.after_accept = lambda request: lost_answer(request) if request.external_id.endswith("1") else None
    batch = world.plan(9, choices={Choice.MAX_RUNS: "4"})
    world.run(600)
    assert len(world.provider.runs) == 4
    assert world.states(batch) == {"planned": 5, "exported": 3, "held": 1}


def test_credits_are_never_passed_once_the_price_is_known() -> None:
    world = World()
    batch = world.plan(30, choices={Choice.MAX_CREDITS: "10"})
    world.run(3600)
    assert len(world.provider.runs) == 6  # 1.5 each: a seventh would make 10.5
    view = world.views.batch(batch)
    assert (view.paused, view.credits) == ("max_credits", 9.0)


def test_the_first_run_goes_alone_to_learn_the_price() -> None:
    world = World()
    world.plan(30, choices={Choice.MAX_CREDITS: "100"})
    world.run(15)
    assert len(world.provider.runs) == 1
    world.run(600)
    assert len(world.provider.runs) == 30


# -- tolerance ---------------------------------------------------------------------------------------------------------


def test_too_many_failures_stop_feeding_and_say_why() -> None:
    world = World()
    fail_every(world, 4)
    batch = world.plan(400, choices={Choice.MAX_FAILURES: "10%"})
    world.run(1200)
    view = world.views.batch(batch)
    assert view.paused == "too_many_failures"
    assert "of 20 submissions failed, more than 10%" in (view.paused_message or "") or view.judged["failed"] > 2
    assert len(world.provider.runs) < 200
    assert world.states(batch).keys() == {"planned", "exported"}


def test_a_share_says_nothing_before_there_is_a_sample() -> None:
    world = World()
    fail_every(world, 2)
    batch = world.plan(19, choices={Choice.MAX_FAILURES: "5%"})
    world.run()
    assert world.states(batch) == {"exported": 19}
    assert not world.views.batch(batch).tolerated


def test_a_number_of_failures_needs_no_sample() -> None:
    world = World()
    world.provider.run_s = 5
    fail_every(world, 1)
    batch = world.plan(200, choices={Choice.MAX_FAILURES: "2"})
    world.run(1200)
    assert paused(world, batch) == "too_many_failures"
    assert len(world.provider.runs) <= 80


def test_a_person_who_lets_them_pass_starts_counting_anew() -> None:
    world = World()
    world.provider.rates = {**world.provider.rates}
    fail_every(world, 1)
    batch = world.plan(100, choices={Choice.MAX_FAILURES: "1"})
    world.run(600)
    first = len(world.provider.runs)
    world.provider.outcome = lambda _external: Outcome.SUCCEEDED
    _, follow = world.ledger.resume("fake", batch=batch)
    world.send([follow] if follow else [])
    world.run()
    assert first < 100
    assert world.states(batch) == {"exported": 100}


def test_failures_within_the_tolerance_are_tolerated() -> None:
    world = World()
    fail_every(world, 25)
    batch = world.plan(50, choices={Choice.MAX_FAILURES: "4%"})
    world.run()
    view = world.views.batch(batch)
    assert (view.closed, view.tolerated, view.judged) == (True, True, {"failed": 2, "succeeded": 48})


# -- a provider that is down -------------------------------------------------------------------------------------------


def down(world: World, *, sends: bool = True, reads: bool = True) -> list[str]:
    """Let nothing through; the list returned is filled with what was tried."""
    tried: list[str] = []

    def submit(_request: SubmitRequest) -> None:
        tried.append("submit")
        if sends:
            raise NotSent("no connection to the provider (ConnectError)")

    def read(what: str) -> None:
        tried.append(what)
        if reads:
            raise Unreachable("the provider can't be reached (ConnectError)")

    world.provider.on_submit, world.provider.on_read = submit, read
    return tried


def up(world: World) -> None:
    world.provider.on_submit = world.provider.on_read = None


def test_nothing_burns_while_a_provider_is_down_and_it_resumes_by_itself() -> None:
    world = World()
    batch = world.plan(200)
    tried = down(world)
    world.run(1800)
    assert world.states(batch) == {"planned": 200}
    assert all(item.attempt == 0 for item in world.views.submissions(batch))
    assert tried.count("submit") <= 8
    assert len(tried) < 60, "a question a minute, once the waits have grown"
    up(world)
    world.run(200)
    assert len(world.provider.runs) >= 80
    world.run()
    assert world.states(batch) == {"exported": 200}


def test_while_it_is_down_questions_come_one_at_a_time() -> None:
    world = World()
    world.plan(50, name="one")
    world.plan(50, name="other")
    tried = down(world)
    world.run(60)
    before = len(tried)
    world.run(300)
    assert len(tried) - before <= 7


def test_a_provider_that_answers_questions_only_is_not_flooded() -> None:
    world = World()
    world.plan(100)
    tried = down(world, reads=False)
    world.run(600)
    assert tried.count("submit") <= 20


def test_one_submission_tries_before_the_others_go_on() -> None:
    world = World()
    world.lose_messages()
    batch = world.plan(3)
    rates, circuit = world.provider.rates, world.context.circuit
    circuit.failed("fake", "gone", surely=True)
    circuit.answered("fake")
    released = world.ledger.release("fake", rates, window=64, lease_s=30.0).submissions
    assert len(released) == 1

    def begin(index: int) -> object:
        item = world.views.submission(submission_id(batch, index))
        rate = rates[EndpointClass.ADD]
        return world.ledger.begin(item.id, item.generation, rate=rate, worker="w", lease_s=90.0, token=f"t{index}")

    first = begin(1)
    assert isinstance(first, Begun)
    assert isinstance(begin(2), Wait)
    world.ledger.put_back(submission_id(batch, 1), first.generation, reason="permit_expired", unused=True)
    second = begin(2)
    assert isinstance(second, Begun), "the first said nothing about the provider"
    assert isinstance(begin(3), Wait)
    world.ledger.accepted(submission_id(batch, 2), RunView("1", None, "", None), attempt=1, first_poll_s=1.0)
    assert isinstance(begin(3), Begun)


def test_answers_that_say_nothing_open_it_too() -> None:
    world = World(waits=Waits(settle_s=10))

    def broken(_request: SubmitRequest) -> None:
        raise Ambiguous("the provider's answer leaves the outcome open (503)", http_status=503)

    world.provider.on_submit = broken
    batch = world.plan(100)
    world.run(120)
    assert len(world.provider.arrivals) <= 12, "not a full window of doubts"
    world.provider.on_submit = None
    world.run()
    assert world.states(batch) == {"exported": 100}
    assert len(world.provider.runs) == 100


def test_runs_are_not_asked_after_while_it_is_down() -> None:
    world = World()
    batch = world.plan(10)
    world.run(3)
    tried = down(world)
    world.run(600)
    assert len(tried) <= 20
    up(world)
    world.run()
    assert world.states(batch) == {"exported": 10}


def test_a_refusal_shows_that_the_provider_is_there() -> None:
    world = World()
    batch = world.plan(20)
    down(world)
    world.run(30)

    def refuse(_request: SubmitRequest) -> None:
        raise Refused("the provider refuses the submission (422)", http_status=422)

    up(world)
    world.provider.on_submit = refuse
    world.run(200)
    assert world.states(batch) == {"exported": 20}
    assert world.views.batch(batch).reasons == {"rejected": 20}


def test_another_account_keeps_its_pace() -> None:
    world = World()
    item = world.plan(40)
    world.context.circuit.failed("somebody_else", "gone", surely=True)
    world.run(30)
    assert world.views.batch(item).by_state[State.PLANNED] == 0


# -- add and wait ------------------------------------------------------------------------------------------------------


def test_a_batch_that_waits_uses_its_own_class_and_needs_no_question() -> None:
    world = World()
    world.provider.run_s = 0.0
    batch = world.plan(30, choices={Choice.WAIT: "60"})
    world.run()
    view = world.views.batch(batch)
    assert (view.requests[EndpointClass.WAIT], view.requests[EndpointClass.ADD]) == (30, 0)
    assert view.requests[EndpointClass.LIST] <= 2, "the audit, and perhaps one look"
    assert set(world.provider.waited) == {60}
    assert world.states(batch) == {"exported": 30}


def test_what_did_not_end_in_the_call_is_followed_by_polling() -> None:
    world = World()
    world.provider.run_s = 200.0
    batch = world.plan(5, choices={Choice.WAIT: "30"})
    world.run()
    assert world.states(batch) == {"exported": 5}
    assert len(world.provider.runs) == 5


def test_the_class_that_waits_has_its_own_pace_and_leaves_the_other_alone() -> None:
    world = World()
    world.provider.rates = {
        **world.provider.rates,
        EndpointClass.WAIT: replace(world.provider.rates[EndpointClass.WAIT], limit=10),
    }
    world.restart()
    world.provider.run_s = 1.0
    waiting = world.plan(100, name="waiting", choices={Choice.WAIT: "60"})
    other = world.plan(100, name="other")
    world.run(50)
    sent = {batch: sum(batch in external for _, external in world.provider.arrivals) for batch in (waiting, other)}
    assert sent == {waiting: 10, other: 40}


@pytest.mark.parametrize(("submissions", "waits"), [(12, True), (41, False)])
def test_auto_waits_where_the_whole_batch_may_go_at_once(submissions: int, waits: bool) -> None:
    world = World()
    world.provider.run_s = 1.0
    batch = world.plan(submissions, choices={Choice.WAIT: "auto"})
    world.run()
    assert world.states(batch) == {"exported": submissions}
    view = world.views.batch(batch)
    assert (view.requests[EndpointClass.WAIT] > 0) is waits
    assert set(world.provider.waited) == ({60} if waits else {0})


# -- cancelling --------------------------------------------------------------------------------------------------------


def cancel(world: World, batch: str) -> None:
    follow = world.ledger.cancel_batch(batch, message="cancelled by a person")
    world.send([follow] if follow else [])


def test_cancelling_ends_what_waits_and_what_runs_and_keeps_what_was_paid() -> None:
    world = World()
    world.provider.run_s = 30.0
    batch = world.plan(100)
    world.run(20)
    cancel(world, batch)
    sent = len(world.provider.arrivals)
    world.run()
    view = world.views.batch(batch)
    assert len(world.provider.arrivals) == sent, "cancelling starts nothing"
    assert view.closed
    assert view.outcomes[Outcome.CANCELLED] + view.outcomes[Outcome.SUCCEEDED] == 100
    assert len(world.provider.deleted) == sent - view.outcomes[Outcome.SUCCEEDED]
    run = next(item for item in world.views.submissions(batch) if item.run_id in world.provider.deleted)
    assert world.sink.parts[run.id].record["data"] == {"first": {"status": "success"}}
    assert (run.reason, run.credits) == ("cancelled", 0.5)


def cancelled_world(plan: dict[int, Mode]) -> tuple[World, str]:
    """Cancel a batch of three while one is uncertain and two run; `plan` counts effects from there."""
    world = World(waits=Waits(settle_s=20))
    world.provider.run_s = 6000.0
    world.provider.after_accept = lambda request: lost_answer(request) if request.external_id.endswith("3") else None
    batch = world.plan(3)
    world.run(0.3)
    cancel(world, batch)
    world.seam.names.clear()
    world.seam.plan = plan
    world.run(9000)
    return world, batch


def test_a_worker_that_dies_while_cancelling_loses_nothing() -> None:
    quiet, _ = cancelled_world({})
    steps = len(quiet.seam.names)
    assert {"provider.delete", "results.put"} <= set(quiet.seam.names)
    for at, mode in itertools.product(range(steps), (Mode.CRASH_BEFORE, Mode.CRASH_AFTER)):
        world, batch = cancelled_world({at: mode})
        view = world.views.batch(batch)
        told = f"{mode} {at}"
        assert (view.closed, view.outcomes[Outcome.CANCELLED]) == (True, 3), told
        kept = [part.record["data"] for part in world.sink.parts.values()]
        assert kept == [{"first": {"status": "success"}}] * 3, told
        assert len(world.provider.deleted) == 3, told


def test_a_run_that_ends_before_it_is_deleted_succeeds() -> None:
    world = World()
    world.provider.run_s = 5.0
    batch = world.plan(3)
    world.run(1)
    world.run(8, until=lambda: bool(world.provider.runs) and world.clock > world.provider.runs["1002"].ends_s)
    cancel(world, batch)
    world.run()
    assert world.views.batch(batch).outcomes[Outcome.SUCCEEDED] == 3


def test_uncertain_ones_are_found_out_first() -> None:
    world = World(waits=Waits(settle_s=20))
    world.provider.run_s = 10_000.0
    world.provider.after_accept = lost_answer
    batch = world.plan(2)
    world.run(0.2)
    world.provider.after_accept = None
    cancel(world, batch)
    world.run(600)
    assert world.views.batch(batch).outcomes[Outcome.CANCELLED] == 2
    assert len(world.provider.deleted) == 2


def test_a_provider_that_cannot_cancel_is_followed_to_the_end() -> None:
    world = World()
    world.provider.capabilities = replace(CAPABILITIES, cancels=False)
    batch = world.plan(60)
    world.run(2)
    cancel(world, batch)
    world.run()
    view = world.views.batch(batch)
    assert (view.outcomes[Outcome.SUCCEEDED], view.outcomes[Outcome.CANCELLED]) == (40, 20)
    assert view.closed


def test_what_is_held_is_given_up_with_a_note() -> None:
    world = World()
    world.provider.capabilities = replace(CAPABILITIES, finds_many=0, asks_after_many=0)
    world.provider.after_accept = lost_answer
    batch = world.plan(1)
    world.run(600)
    cancel(world, batch)
    world.run()
    item = world.views.submission(submission_id(batch, 1))
    assert (item.outcome, item.reason) == (Outcome.CANCELLED, "cancelled")
    assert "nobody knows whether it has a run" in (item.error or {})["message"]


def test_cancelled_submissions_can_be_sent_later() -> None:
    world = World()
    batch = world.plan(50)
    cancel(world, batch)
    world.run()
    assert world.views.batch(batch).closed
    world.ledger.resume("fake", batch=batch, reason="cancelled")
    for item in world.views.submissions(batch):
        moved = world.ledger.retry(item.id, item.generation, reason="by_person")
        assert isinstance(moved, Moved)
        world.send([moved.follow] if moved.follow else [])
    world.run()
    view = world.views.batch(batch)
    assert (view.closed, view.outcomes[Outcome.SUCCEEDED], view.outcomes[Outcome.CANCELLED]) == (True, 50, 0)


def test_resume_does_not_undo_a_cancel() -> None:
    world = World()
    batch = world.plan(50)
    cancel(world, batch)
    assert world.ledger.resume("fake", batch=batch) == (False, None)

"""The manual, part twelve: a batch is ended for good, and what was paid for is kept."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from paceline.errors import AnswerTooLarge, Unavailable
from paceline.model import Outcome, RunView, submission_id
from paceline.replies import DueRun, Moved
from paceline.steps.context import Waits
from paceline.steps.finishing import finish
from tests.support.fake_provider import CAPABILITIES, lost_answer
from tests.support.seam import Mode
from tests.support.world import World


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


def test_a_run_that_cannot_be_ended_does_not_keep_the_others() -> None:
    world = World()
    world.provider.run_s = 1000.0
    delete = world.provider.delete

    def refusing(agent: str, run_id: str) -> None:
        if run_id == "1000":
            raise Unavailable("the provider can't answer now (409)", http_status=409)
        delete(agent, run_id)

    world.provider.delete = refusing  # type: ignore[method-assign]
    world.restart()
    batch = world.plan(30)
    world.run(20)
    cancel(world, batch)
    world.run(60)
    assert world.states(batch) == {"running": 1, "exported": 29}
    world.run()
    assert world.views.batch(batch).closed


def test_a_run_that_ends_while_it_is_to_be_ended_keeps_its_whole_result() -> None:
    world = World()
    world.provider.run_s = 100.0
    batch = world.plan(1)
    world.run(20)
    item = world.views.submission(submission_id(batch, 1))
    put = world.results.put

    def finished_just_before(records: Mapping[str, Mapping[str, Any]]) -> None:
        world.results.put = put  # type: ignore[method-assign]
        view = RunView(item.run_id or "", None, "success", Outcome.SUCCEEDED, data={"whole": {}})
        finish(
            world.context,
            [(DueRun(item.id, item.run_id or "", item.generation, 50.0), view)],
            round(world.clock * 1000),
        )
        put(records)

    world.results.put = finished_just_before  # type: ignore[method-assign]
    cancel(world, batch)
    world.run()
    assert world.views.submission(item.id).outcome is Outcome.SUCCEEDED
    assert world.sink.parts[item.id].record["data"] == {"whole": {}}


def test_no_policy_sends_a_cancelled_batch_again() -> None:
    world = World(waits=Waits(retry_failed_runs=3))
    world.provider.run_s = 5.0
    world.provider.outcome = lambda _external: Outcome.FAILED
    batch = world.plan(3)
    world.run(4)
    cancel(world, batch)
    world.run()
    assert world.views.batch(batch).closed
    assert len(world.provider.arrivals) == 3


def test_a_run_that_is_somebody_elses_is_neither_kept_nor_deleted() -> None:
    world = World(waits=Waits(run_limit_s=500))
    world.provider.run_s = 100_000.0
    batch = world.plan(2)
    world.run(20)
    world.provider.runs["1000"].external_id = "somebody.else"
    cancel(world, batch)
    world.run(1000)
    assert world.provider.deleted == ["1001"]
    assert world.views.batch(batch).reasons == {"cancelled": 1, "timed_out": 1}


def test_a_success_without_all_of_its_results_is_not_asked_after_without_end() -> None:
    world = World(waits=Waits(run_limit_s=300))
    view = world.provider._view
    world.provider.run_s = 5.0
    world.provider._view = lambda run: replace(view(run), partial=True)  # type: ignore[method-assign]
    batch = world.plan(1)
    world.run(4)
    cancel(world, batch)
    before = len(world.provider.reads)
    world.run(60)
    assert len(world.provider.reads) - before < 40
    world.run()
    assert world.views.batch(batch).outcomes[Outcome.SUCCEEDED] == 1


def test_an_answer_that_is_too_large_together_is_asked_for_one_by_one() -> None:
    world = World()
    world.provider.run_s = 5000.0
    ask = world.provider.ask

    def large(agent: str, run_ids: Sequence[str]) -> Mapping[str, RunView]:
        if "1000" in run_ids:
            raise AnswerTooLarge("more than 1 bytes")
        return ask(agent, run_ids)

    batch = world.plan(6)
    world.run(20)
    world.provider.ask = large  # type: ignore[method-assign]
    world.restart()
    cancel(world, batch)
    world.run(300)
    assert world.views.batch(batch).outcomes[Outcome.CANCELLED] == 6

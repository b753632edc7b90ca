"""The manual, part two: what a question about a run can and cannot teach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from paceline.errors import AccessDenied, Ambiguous, AnswerTooLarge, PacelineError, SinkError, Throttled, Unavailable
from paceline.model import EndpointClass, Outcome, RunView, Submission, submission_id
from paceline.replies import Lost, Moved
from paceline.sinks.base import Part
from paceline.steps.context import Waits
from tests.support.fake_provider import fail_with
from tests.support.world import World


def fail_reads(world: World, error: PacelineError, times: int) -> None:
    left = [times]

    def fail(_what: str) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    world.provider.on_read = fail


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("503"),
        Unavailable("HTML instead of JSON"),
        Throttled("429", retry_after_s=7.0),
        Throttled("429", retry_after_s=None),
        AccessDenied("401", http_status=401),
    ],
    ids=["5xx", "garbage", "429 with a time", "429 without", "401"],
)
def test_a_question_that_fails_only_costs_time(error: PacelineError) -> None:
    world = World()
    fail_reads(world, error, 8)
    batch = world.plan(10)
    world.run()
    assert world.states(batch) == {"exported": 10}
    assert world.views.batch(batch).outcomes[Outcome.SUCCEEDED] == 10


def test_answers_that_are_too_large_are_asked_for_in_smaller_lists() -> None:
    world = World()

    def too_large(what: str) -> None:
        if what == "ask" and world.provider.reads[-1][1] > 4:
            raise AnswerTooLarge("more than the cap")

    world.provider.on_read = too_large
    batch = world.plan(20)
    world.run()
    assert world.states(batch) == {"exported": 20}


def test_a_run_that_lists_do_not_show_for_a_while_is_waited_for() -> None:
    world = World()
    batch = world.plan(4)
    world.run(until=lambda: len(world.provider.runs) == 4)
    world.provider.hidden = set(world.provider.runs)
    world.run(300)
    assert world.states(batch) == {"running": 4}
    world.provider.hidden = set()
    world.run()
    assert world.states(batch) == {"exported": 4}
    assert world.views.batch(batch).outcomes[Outcome.SUCCEEDED] == 4


def test_a_word_that_nobody_knows_is_not_an_end() -> None:
    world = World()
    batch = world.plan(1)
    real = world.provider._view
    strange = [True]

    def view(run: object) -> RunView:
        seen = real(run)  # type: ignore[arg-type]  # the fake's own run
        return replace(seen, raw_status="archived", outcome=None) if strange[0] else seen

    world.provider._view = view  # type: ignore[method-assign]  # the fake is ours to bend
    world.run(200)
    assert world.states(batch) == {"running": 1}
    strange[0] = False
    world.run()
    assert world.states(batch) == {"exported": 1}


def test_a_run_that_never_ends_finishes_as_timed_out_and_keeps_its_run_id() -> None:
    world = World()
    world.provider.run_s = 1e9
    batch = world.plan(2)
    world.run()
    item = world.views.submission(submission_id(batch, 1))
    assert (item.outcome, item.reason) == (Outcome.FAILED, "timed_out")
    assert item.run_id in world.provider.runs
    assert world.states(batch) == {"exported": 2}


def test_a_run_of_somebody_else_is_never_taken_for_ours() -> None:
    world = World()
    batch = world.plan(1)
    world.run(until=lambda: bool(world.provider.runs))
    run = next(iter(world.provider.runs.values()))
    run.external_id = "somebody.else"
    world.run(400)
    assert world.states(batch) == {"running": 1}


def test_a_result_that_the_backend_lost_is_fetched_from_the_provider_again() -> None:
    world = World()
    world.results.put = lambda records: None  # type: ignore[method-assign]  # a backend that forgets
    batch = world.plan(3)
    world.run()
    part = world.sink.parts[submission_id(batch, 2)]
    assert part.record["data"]["names"]["value"] == ["0.txt", "1.txt", "2.txt"]


def test_a_sink_that_fails_is_written_again_and_nothing_counts_as_exported_before() -> None:
    world = World()
    left = [5]

    def fail(_part: Part) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise SinkError("disk full")

    world.sink.on_write = fail
    batch = world.plan(3)
    world.run()
    assert left == [0]
    assert world.states(batch) == {"exported": 3}
    assert sorted(world.sink.parts) == [submission_id(batch, n) for n in (1, 2, 3)]


def test_four_hundred_runs_at_once_cost_a_few_dozen_calls() -> None:
    world = World()
    rates = {**world.provider.rates}
    from paceline.model import Rate
    from paceline.steps.context import Account

    rates[EndpointClass.ADD] = Rate(600, 60.0)
    world.context.accounts["fake"] = Account("fake", world.provider, rates)  # type: ignore[index]  # the world's own dict
    batch = world.plan(400)
    world.run()
    asked = Counter(what for what, _ in world.provider.reads)
    assert asked["ask"] <= 0.3 * 400
    assert world.states(batch) == {"exported": 400}


def test_an_extra_run_at_the_provider_is_reported_by_the_closing_audit() -> None:
    world = World()
    batch = world.plan(3)
    world.run(until=lambda: len(world.provider.runs) == 3)
    extra = world.provider.start(world.views.submission(submission_id(batch, 2)).external_id)
    world.run()
    view = world.views.batch(batch)
    assert view.closed
    assert view.duplicates == {extra.run_id: submission_id(batch, 2)}
    assert world.sink.commits[-1].summary["duplicate_runs"] == 1


def test_a_run_that_ends_after_its_time_limit_is_collected_late_and_not_paid_again() -> None:
    world = World(waits=Waits(run_limit_s=600.0))
    world.provider.run_s = 5000.0
    batch = world.plan(2)
    world.run()
    assert world.views.batch(batch).closed
    assert world.views.batch(batch).reasons == {"timed_out": 2}

    world.send([moved.follow for moved in map(_collect(world), world.views.submissions(batch)) if moved.follow])
    world.run()
    assert world.views.batch(batch).reasons == {"timed_out": 2}  # still going, so given up again

    world._tick(5000.0)
    world.send([moved.follow for moved in map(_collect(world), world.views.submissions(batch)) if moved.follow])
    assert not world.views.batch(batch).closed
    world.run()

    after = world.views.batch(batch)
    assert (after.closed, after.reasons, after.outcomes[Outcome.SUCCEEDED]) == (True, {}, 2)
    assert (after.credits, after.runs_accepted, len(world.provider.runs)) == (3.0, 2, 2)
    assert {part.record["outcome"] for part in world.sink.parts.values()} == {"succeeded"}
    assert world.sink.commits[-1].summary["files"]["succeeded"] == 6
    assert isinstance(_collect(world)(next(iter(world.views.submissions(batch)))), Lost)


def test_a_failed_submission_is_retried_as_a_new_attempt_with_the_old_run_on_record() -> None:
    world = World()
    fails = [True]
    world.provider.outcome = lambda external: (
        Outcome.FAILED if external.endswith("2") and fails[0] else Outcome.SUCCEEDED
    )
    batch = world.plan(3)
    world.run()
    assert world.views.batch(batch).closed

    fails[0] = False
    items = list(world.views.submissions(batch))
    answers = [world.ledger.retry(item.id, item.generation, reason="by_person") for item in items]
    assert [isinstance(answer, Moved) for answer in answers] == [False, True, False]
    world.send([answer.follow for answer in answers if isinstance(answer, Moved) and answer.follow])
    world.run()

    retried, after = world.views.submission(items[1].id), world.views.batch(batch)
    assert (retried.attempt, retried.past) == (2, (items[1].run_id,))
    assert world.sink.parts[retried.id].record["attempts"] == 2
    assert (after.closed, after.outcomes[Outcome.SUCCEEDED], after.outcomes[Outcome.FAILED]) == (True, 3, 0)
    assert (after.runs_accepted, dict(after.duplicates), after.reasons) == (4, {}, {})
    assert after.credits == 6.0  # what failed was paid for too
    assert len(world.provider.runs) == 4


def test_a_lost_answer_to_a_retry_finds_the_new_run_not_the_old_one() -> None:
    world = World()
    fails = [True]
    world.provider.outcome = lambda _external: Outcome.FAILED if fails[0] else Outcome.SUCCEEDED
    batch = world.plan(1)
    world.run()
    (item,) = world.views.submissions(batch)
    fails[0] = False
    world.provider.on_submit = fail_with(Ambiguous("no answer"))  # this one isn't accepted
    moved = world.ledger.retry(item.id, item.generation, reason="by_person")
    assert isinstance(moved, Moved)
    world.send([moved.follow] if moved.follow else [])
    world.run()
    (after,) = world.views.submissions(batch)
    assert (after.outcome, after.attempt, after.past) == (Outcome.SUCCEEDED, 3, (item.run_id,))
    assert len(world.provider.runs) == 2


def test_policy_sends_a_failed_run_again_so_many_times_and_no_more() -> None:
    world = World(waits=Waits(retry_failed_runs=2))
    world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("1") else Outcome.SUCCEEDED
    batch = world.plan(2)
    world.run()
    one, other = world.views.submissions(batch)
    assert (one.outcome, one.attempt, len(one.past)) == (Outcome.FAILED, 3, 2)
    assert (other.outcome, other.attempt) == (Outcome.SUCCEEDED, 1)
    assert world.views.batch(batch).closed
    assert Counter(run.external_id for run in world.provider.runs.values())[one.external_id] == 3
    assert world.views.batch(batch).duplicates == {}


def _collect(world: World) -> Callable[[Submission], Any]:
    return lambda item: world.ledger.collect(item.id, item.generation)

"""The manual, part one: how a batch goes from planned to complete, on a clock that the test moves."""

from __future__ import annotations

from collections import Counter

from paceline.errors import AccessDenied, Ambiguous, NotSent, Refused, Throttled
from paceline.model import Outcome, submission_id
from tests.support.fake_provider import fail_with, lost_answer
from tests.support.world import World


def accepted_per_submission(world: World) -> Counter[str]:
    return Counter(run.external_id for run in world.provider.runs.values())


def test_a_batch_ends_with_every_submission_run_once_and_exported() -> None:
    world = World()
    batch = world.plan(100)
    world.run()
    assert world.states(batch) == {"exported": 100}
    assert set(accepted_per_submission(world).values()) == {1}
    assert len(world.sink.parts) == 100
    assert world.views.batch(batch).closed
    assert world.sink.commits[-1].summary["files"] == {
        "total": 300,
        "succeeded": 300,
        "failed": 0,
        "cancelled": 0,
        "skipped": 0,
        "pending": 0,
    }


def test_the_pace_is_never_passed_and_nearly_reached() -> None:
    world = World()
    world.plan(120)
    world.run()
    times = sorted(at for at, _ in world.provider.arrivals)
    in_a_minute = max(sum(1 for t in times if start <= t < start + 60) for start in times)
    assert in_a_minute == 40
    assert times[-1] - times[0] <= 120 * 1.04


def test_following_four_hundred_runs_costs_few_calls() -> None:
    world = World()
    world.plan(400)
    world.run()
    asks = sum(1 for what, _ in world.provider.reads if what == "ask")
    assert asks / 400 <= 0.3 + 1.0  # at 40 starts a minute; see the next test for a burst


def test_a_lost_answer_never_starts_a_second_run() -> None:
    world = World()
    world.provider.after_accept = lost_answer
    batch = world.plan(5)
    world.run()
    assert world.states(batch) == {"exported": 5}
    assert set(accepted_per_submission(world).values()) == {1}


def test_a_post_that_never_arrived_is_sent_again_after_proof_of_absence() -> None:
    world = World()
    world.provider.on_submit = fail_with(Ambiguous("connection reset"), times=1)
    batch = world.plan(3)
    world.run()
    assert world.states(batch) == {"exported": 3}
    assert set(accepted_per_submission(world).values()) == {1}
    first, again = [at for at, who in world.provider.arrivals if who.endswith("000001")]
    assert again - first >= world.context.waits.settle_s


def test_a_refused_submission_fails_alone() -> None:
    world = World()
    world.provider.on_submit = fail_with(Refused("no such field", http_status=422))
    batch = world.plan(3)
    world.run()
    assert world.views.batch(batch).outcomes[Outcome.FAILED] == 1
    assert world.views.batch(batch).outcomes[Outcome.SUCCEEDED] == 2
    item = world.views.submission(submission_id(batch, 1))
    assert item.error is not None
    assert item.error["http_status"] == 422


def test_a_refused_key_stops_the_account_after_one_request() -> None:
    world = World()
    world.provider.on_submit = fail_with(AccessDenied("key refused", http_status=401), times=1000)
    batch = world.plan(30)
    world.run(300)
    assert len(world.provider.arrivals) == 1
    assert world.states(batch) == {"planned": 30}
    world.provider.on_submit = None
    resumed, follow = world.ledger.resume("fake")
    assert resumed
    assert follow
    world.send([follow])
    world.run()
    assert world.states(batch) == {"exported": 30}


def test_a_429_pauses_everybody_and_costs_no_attempt() -> None:
    world = World()
    world.provider.on_submit = fail_with(Throttled("slow down", retry_after_s=30.0), times=1)
    batch = world.plan(10)
    started = world.clock
    world.run()
    assert world.states(batch) == {"exported": 10}
    assert sorted(at - started >= 30 for at, _ in world.provider.arrivals) == [False] + [True] * 10
    assert all(item.attempt == 1 for item in world.views.submissions(batch))


def test_a_provider_out_of_reach_burns_no_attempts() -> None:
    world = World()
    world.provider.on_submit = fail_with(NotSent("connection refused"), times=5)
    batch = world.plan(10)
    world.run()
    assert world.states(batch) == {"exported": 10}
    assert all(item.attempt == 1 for item in world.views.submissions(batch))


def test_messages_are_hints_losing_every_other_one_changes_only_time() -> None:
    world = World()
    dropped = iter(range(10**9))
    world.drop = lambda _follow: next(dropped) % 2 == 0
    batch = world.plan(60)
    world.run()
    assert world.states(batch) == {"exported": 60}
    assert set(accepted_per_submission(world).values()) == {1}


def test_messages_are_hints_repeating_each_three_times_changes_nothing() -> None:
    world = World()
    world.copies = 3
    batch = world.plan(60)
    world.run()
    assert world.states(batch) == {"exported": 60}
    assert set(accepted_per_submission(world).values()) == {1}
    asked = Counter(what for what, _ in world.provider.reads)
    assert asked["ask"] < 100


def test_a_failed_run_is_a_record_with_its_reason() -> None:
    world = World()
    world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("2") else Outcome.SUCCEEDED
    batch = world.plan(3)
    world.run()
    record = world.sink.parts[submission_id(batch, 2)].record
    assert record["outcome"] == "failed"
    assert record["reason"] == "run_failed"
    assert record["error"] == {
        "category": "provider",
        "phase": "run",
        "message": "a prompt failed",
        "http_status": None,
    }


def test_a_submissions_own_journal_is_found_without_reading_the_batchs() -> None:
    world = World()
    batch = world.plan(3)
    world.run()
    for number in (1, 2, 3):
        item = submission_id(batch, number)
        whole = list(world.views.journal(batch, item))
        assert world.views.journal_of(item) == whole
        assert [row["verb"] for row in world.views.journal_of(item, most=2)] == [row["verb"] for row in whole[-2:]]
    assert world.views.journal_of(submission_id(batch, 4)) == []

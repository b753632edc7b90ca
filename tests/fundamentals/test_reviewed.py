"""Defects that a review found by trying, each as the scenario that showed it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

from paceline import redis_keys as keys
from paceline.errors import AgentUnknown, AnswerTooLarge, FileMissing, SourceUnreachable, Throttled, Unavailable
from paceline.lifecycle import Verb
from paceline.model import (
    BatchSpec,
    EndpointClass,
    Follow,
    Outcome,
    PlannedFile,
    PlannedSubmission,
    Rate,
    RunView,
    State,
    Step,
    submission_id,
)
from paceline.replies import Begun, Duplicate, Moved
from paceline.sinks.base import Part
from paceline.spool import Request, Verdict
from paceline.steps.context import Waits
from paceline.steps.rescuing import worker_died
from tests.support.fake_provider import fail_with
from tests.support.world import World


def accepted(world: World) -> Counter[str]:
    return Counter(run.external_id for run in world.provider.runs.values())


@pytest.mark.parametrize("age_s", [5.0, 44.0, 44.99, 46.0, 300.0])
def test_a_wake_up_is_not_lost_to_a_turn_that_had_already_looked(age_s: float) -> None:
    world = World()
    chains = world.context.chains
    chains.wake(Step.POLL, "fake:7")
    claim = chains.claim(Step.POLL, "fake:7", lease_s=45.0)
    assert claim is not None
    world._tick(age_s)  # the turn has looked, found nothing, and is slow to end
    woken = chains.wake(Step.POLL, "fake:7", 1.5)
    ended = chains.next(Step.POLL, "fake:7", claim, None)
    world._tick(10.0)
    rescued, _ = chains.overdue(5.0)
    assert woken or ended or rescued
    assert world.redis.zscore("pl:chains", "poll:fake:7") is not None


def test_late_evidence_is_adopted_while_the_next_attempt_is_under_way() -> None:
    world = World()
    world.plan(1)
    batch = world.views.batch_ids()[0]
    item = submission_id(batch, 1)
    rate = Rate(40, 60.0)
    first = world.ledger.begin(item, 1, rate=rate, worker="a", lease_s=90.0)
    assert isinstance(first, Begun)
    world.ledger.uncertain(item, first.generation, reason="lease_expired", first_look_s=0.5)
    for _ in range(2):
        generation = world.views.submission(item).generation
        world.ledger.absent(item, generation, counts=True, needed=2, next_look_s=1.0, apart_s=0.0)
    second = world.ledger.begin(item, world.views.submission(item).generation, rate=rate, worker="b", lease_s=90.0)
    assert isinstance(second, Begun)
    found = world.ledger.accepted(item, RunView("1", None, "running", None), attempt=1, first_poll_s=1.5)
    assert isinstance(found, Moved)
    assert not isinstance(
        world.ledger.put_back(item, second.generation, reason="throttled", unused=False, throttled=True), Moved
    )
    other = world.ledger.accepted(item, RunView("2", None, "running", None), attempt=2, first_poll_s=1.5)
    assert isinstance(other, Duplicate)
    assert world.views.submission(item).run_id == "1"
    assert world.views.batch(batch).duplicates == {"2": item}


def test_one_poisonous_run_does_not_keep_the_others_from_finishing() -> None:
    world = World()
    batch = world.plan(6)
    real = world.results.put

    def put(records: object) -> None:
        if submission_id(batch, 3) in records:  # type: ignore[operator]  # a mapping
            raise RecursionError("this result can't be written")
        real(records)  # type: ignore[arg-type]  # passed through

    world.results.put = put  # type: ignore[method-assign]  # a backend that chokes
    world.run(300)
    assert world.states(batch) == {"exported": 5, "running": 1}
    world.results.put = real  # type: ignore[method-assign]  # mended
    world.run()
    assert world.states(batch) == {"exported": 6}


def test_an_answer_nobody_thought_of_only_costs_time() -> None:
    world = World()
    batch = world.plan(4)
    left = [3]

    def overflow(_what: str) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OverflowError("int too large")

    world.provider.on_read = overflow
    world.run()
    assert world.states(batch) == {"exported": 4}


@pytest.mark.parametrize("error", [AgentUnknown("404", http_status=404), AnswerTooLarge("cap")])
def test_a_question_that_can_never_be_answered_ends_at_the_time_limit(error: Exception) -> None:
    world = World(waits=Waits(run_limit_s=1800.0))
    batch = world.plan(3)
    world.run(until=lambda: len(world.provider.runs) == 3)

    def fail(what: str) -> None:
        if what == "ask":
            raise error

    world.provider.on_read = fail
    world.run(world.context.waits.run_limit_s + 600)
    assert world.views.batch(batch).outcomes[Outcome.FAILED] == 3
    assert {item.reason for item in world.views.submissions(batch)} == {"timed_out"}


def test_two_exports_at_once_write_the_same() -> None:
    world = World()
    batch = world.plan(1)
    item = submission_id(batch, 1)
    world.run(until=lambda: world.states(batch) == {"finished": 1})
    written: list[Part] = []

    def other_export_first(part: Part) -> None:
        written.append(part)
        if len(written) == 1:
            world.sink.on_write = written.append
            world.runner.run(Step.EXPORT, item)

    world.sink.on_write = other_export_first
    world.runner.run(Step.EXPORT, item)
    world._tick(1.0)
    late = world.views.digests(item)
    assert len(written) == 2
    assert written[0] == written[1]
    assert len(late) == 3


def test_fetching_a_lost_result_again_keeps_to_the_pace() -> None:
    world = World()
    account = world.context.accounts["fake"]
    rates = {**account.rates, EndpointClass.GET: Rate(2, 60.0)}
    world.context.accounts["fake"] = replace(account, rates=rates)  # type: ignore[index]  # the world's own dict
    world.results.put = lambda records: None  # type: ignore[method-assign]  # a backend that forgets
    batch = world.plan(6)
    world.run(until=lambda: world.states(batch).get("running", 0) == 6)
    began = world.clock
    world.run(until=lambda: world.clock - began > 55)
    assert sum(1 for what, _ in world.provider.reads if what == "get") <= 2
    world.run()
    assert world.states(batch) == {"exported": 6}


def test_an_early_refusal_does_not_collapse_the_pace() -> None:
    world = World()
    world.provider.on_submit = fail_with(Throttled("slow down", retry_after_s=1.0), times=1)
    world.plan(120)
    started = world.clock
    world.run()
    assert max(at for at, _ in world.provider.arrivals) - started < 61.2 * 6


def test_a_source_that_is_away_fails_nothing_and_says_so() -> None:
    world = World()
    batch = world.plan(20)

    def away(_file: object) -> None:
        raise SourceUnreachable("the share is not mounted", path="1/0.txt")

    world.root.problem = away
    world.run(300)
    assert world.states(batch) == {"planned": 20}
    assert world.views.batch(batch).paused == "source_unreachable"
    world.root.problem = None
    _, follow = world.ledger.resume("fake", batch=batch)
    world.send([follow] if follow else [])
    world.run()
    assert world.states(batch) == {"exported": 20}


def test_a_missing_file_fails_its_own_submission_only() -> None:
    world = World()
    batch = world.plan(5)

    def gone(file: object) -> None:
        if getattr(file, "path", "").startswith("2/"):
            raise FileMissing("gone", path="2/0.txt")

    world.root.problem = gone
    world.run()
    assert world.views.batch(batch).outcomes[Outcome.SUCCEEDED] == 4
    assert world.views.submission(submission_id(batch, 2)).reason == "file_missing"


def test_a_turn_that_fails_is_taken_again_soon_not_after_its_lease() -> None:
    world = World()
    world.plan(1)
    context = world.context

    def gone(*_args: object, **_named: object) -> None:
        raise OSError("no descriptors")

    release, context.ledger.release = context.ledger.release, gone  # type: ignore[assignment,method-assign]
    with pytest.raises(OSError, match="descriptors"):
        world.runner.run(Step.FEED, "fake")
    context.ledger.release = release  # type: ignore[method-assign]
    world._tick(1.0)
    assert Follow(Step.SUBMIT, next(iter(world.views.batch_ids())) + "-000001") in world.runner.run(Step.FEED, "fake")


def test_the_chains_of_a_dead_worker_go_on_at_once() -> None:
    world = World()
    world.plan(1)
    chains = world.context.chains
    assert chains.claim(Step.FEED, "fake", lease_s=45.0, worker="dead") is not None
    assert world.views.busy_workers() == {"dead"}
    assert chains.claim(Step.FEED, "fake", lease_s=45.0, worker="w2") is None
    follows = worker_died(world.ledger, chains, world.views, "dead", 20.0)
    assert follows == [Follow(Step.FEED, "fake")]
    assert chains.claim(Step.FEED, "fake", lease_s=45.0, worker="w2") is not None
    assert worker_died(world.ledger, chains, world.views, "dead", 20.0) == []


def forget(world: World) -> None:
    """Lose the ledger, but not the spool; what the provider has goes on."""
    world.lose_messages()
    world.redis.flushall()
    world._tick(0)
    world.restart()


@pytest.mark.parametrize("first", [None, SourceUnreachable("not mounted", path="1"), FileMissing("gone", path="1")])
def test_whatever_happens_first_a_forgotten_request_is_not_sent_again(first: Exception | None) -> None:
    world = World()
    world.provider.run_s = 5000.0
    batch = world.plan(1)
    world.run(60)
    assert len(world.provider.runs) == 1
    forget(world)
    world.plan(1)

    def problem(_file: object) -> None:
        if first is not None:
            raise first

    world.root.problem = problem
    world.run(60)
    world.root.problem = None
    world.ledger.resume("fake", batch=batch)
    world.run()

    (item,) = world.views.submissions(batch)
    assert (item.state, item.outcome, len(world.provider.runs)) == (State.EXPORTED, Outcome.SUCCEEDED, 1)
    assert item.run_id in world.provider.runs


def test_an_old_run_never_passes_for_one_of_other_files() -> None:
    world = World()
    batch = world.plan(1)
    world.run()
    forget(world)
    world.sink.parts.clear()
    spec = BatchSpec("/files", "fake", "fake", "7", ("/out",), 3, name="batch")
    assert world.ledger.open_batch(spec, manifest="/out/manifest.jsonl")
    assert spec.batch_id() == batch
    rows = tuple(PlannedFile(f"1/{n}.txt", 99, 1_800_000_000_000_000_000, f"{n}.txt") for n in range(3))
    world.ledger.plan(batch, PlannedSubmission(1, rows), manifest_bytes=100)
    world.run(500)
    (item,) = world.views.submissions(batch)
    assert (item.state, item.reason, len(world.provider.runs)) == (State.HELD, "files_differ", 1)

    world.ledger.resubmit(item.id, item.generation, reason="by_person")
    world.run(500)
    (item,) = world.views.submissions(batch)
    assert (item.state, len(world.provider.runs)) == (State.EXPORTED, 2)


@pytest.mark.parametrize("answer", ["nothing", "an error"])
def test_an_audit_that_could_not_be_done_is_told(answer: str) -> None:
    world = World()
    batch = world.plan(3)
    world.run(until=lambda: world.states(batch).get("exported") == 3)

    def find(_agent: str, _ids: object) -> list[RunView]:
        if answer == "an error":
            raise Unavailable("down")
        return []

    world.provider.find = find  # type: ignore[assignment,method-assign]
    world.run()
    view = world.views.batch(batch)
    assert (view.closed, view.unaudited) == (True, 3)


def test_an_audit_that_was_done_says_nothing() -> None:
    world = World()
    batch = world.plan(3)
    world.run()
    assert (world.views.batch(batch).closed, world.views.batch(batch).unaudited) == (True, 0)


def test_a_redis_away_at_the_intent_is_no_forgotten_request() -> None:
    world = World()
    batch = world.plan(2)
    begin, world.context.ledger.begin = world.context.ledger.begin, _away  # type: ignore[assignment,method-assign]
    with pytest.raises(RedisError):
        world.run(10)
    world.context.ledger.begin = begin  # type: ignore[method-assign]
    began_s = world.clock
    world.run()
    assert world.states(batch) == {"exported": 2}
    assert "doubt" not in {row["verb"] for row in world.views.journal(batch)}
    assert world.provider.arrivals[0][0] - began_s < 60


def _away(*_args: object, **_named: object) -> None:
    raise NoConnection("reset")


def test_a_verdict_that_cannot_be_used_keeps_no_other_waiting() -> None:
    world = World()
    batch = world.plan(2)
    world.spool.keep(Verdict(Request(f"{batch}-000001", 9, 1), Verb.PUT_BACK, {"nonsense": 1}))
    world.run()
    assert world.states(batch) == {"exported": 2}
    assert world.spool.waiting() == []


def test_a_clock_set_back_an_hour_stops_nothing_for_an_hour() -> None:
    world = World()
    world.provider.run_s = 30.0
    batch = world.plan(60)
    world.run(20)
    assert 0 < len(world.provider.runs) < 60
    world._tick(-3600)
    world.lose_messages()
    began_s = world.clock
    for run in world.provider.runs.values():
        run.ends_s -= 3600
    world.run(3000)
    assert world.states(batch) == {"exported": 60}
    assert world.clock - began_s < 600
    assert max(accepted(world).values()) == 1


@pytest.mark.parametrize("step", [Step.SUBMIT, Step.EXPORT])
def test_a_late_message_about_a_batch_that_is_being_removed_is_nothing(step: Step) -> None:
    world = World()
    batch = world.plan(2)
    world.run(until=lambda: world.views.batch(batch).closed)
    world.redis.rename(keys.batch(batch), "pl:test:batch")  # forgotten, its submissions are still to go
    items = [submission_id(batch, index) for index in (1, 2)]
    assert all(world.views.find_submission(item) for item in items)

    assert world.runner.run(step, *items) == []

    world.redis.rename("pl:test:batch", keys.batch(batch))

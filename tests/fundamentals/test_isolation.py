"""What fails with many files is split in halves, under a budget, until the bad files are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from paceline.errors import Refused
from paceline.halving import REASON, halves_of
from paceline.limiter import PacePolicy
from paceline.model import Choice, Outcome, State, Submission, index_of, submission_id
from paceline.providers.base import SubmitRequest
from paceline.replies import Lost, Moved
from paceline.steps.context import Waits
from paceline.summary import summarize
from tests.support.world import SERVER_KEY, World

BAD = ("41.txt", "42.txt", "250.txt")


def poisoned(
    *, bad: Sequence[str] = BAD, budget: int = 100, files: int = 300, submissions: int = 1
) -> tuple[World, str]:
    """Plan a batch in which every run with one of the bad files fails."""
    world = World()
    world.provider.poison = lambda names: bool(set(bad) & set(names))
    batch = world.plan(submissions, files=files)
    world.ledger.choose(batch, {Choice.ISOLATE: str(budget)})
    return world, batch


def outcomes(world: World) -> dict[str, str]:
    """Return the outcome of each file; one that has two records fails."""
    rows = [row for part in world.sink.parts.values() for row in part.files]
    found = {row["path"]: row["outcome"] for row in rows}
    assert len(found) == len(rows)
    return found


def failed(world: World) -> set[str]:
    """Return the names of the files that failed."""
    return {path.partition("/")[2] for path, outcome in outcomes(world).items() if outcome == "failed"}


def conserved(world: World, batch: str, files: int) -> None:
    """See that each file has one record, each submission one run and each counter its number."""
    view, items = world.views.batch(batch), list(world.views.submissions(batch))
    assert view.closed
    assert len(outcomes(world)) == files == view.files
    assert set(Counter(run.external_id for run in world.provider.runs.values()).values()) == {1}
    assert {item.id for item in items} == set(world.sink.parts)
    assert view.total == len(items) == view.by_state[State.EXPORTED]
    assert view.runs_accepted == len(world.provider.runs) == view.in_manifest + view.isolated
    assert view.isolated == view.extra
    counted = Counter(outcomes(world).values())
    assert {str(name): number for name, number in view.files_by_outcome.items() if number} == counted
    assert not view.duplicates
    assert world.sink.commits[-1].submissions == view.in_manifest
    assert world.sink.commits[-1].summary["files"]["pending"] == 0


def test_three_bad_files_among_three_hundred_are_named_and_the_rest_succeeds() -> None:
    world, batch = poisoned()

    world.run()

    assert failed(world) == set(BAD)
    conserved(world, batch, 300)
    view = world.views.batch(batch)
    assert view.isolated <= 2 * 9 * len(BAD)
    assert view.reasons == {"run_failed": 3, REASON: view.isolated // 2}
    assert summarize(view, 0)["files"]["failed"] == 3


def test_without_being_asked_for_nothing_is_split() -> None:
    world, batch = poisoned(budget=0)

    world.run()

    assert (len(world.provider.runs), len(failed(world))) == (1, 300)
    conserved(world, batch, 300)


@pytest.mark.parametrize(("budget", "runs"), [(1, 0), (2, 2), (3, 2), (8, 8)])
def test_a_budget_is_never_passed_and_what_is_left_fails_as_a_group(budget: int, runs: int) -> None:
    world, batch = poisoned(budget=budget)

    world.run()

    assert world.views.batch(batch).isolated == runs
    conserved(world, batch, 300)
    assert set(BAD) < failed(world)
    assert (len(failed(world)) < 300) == (budget > 3)


def test_a_budget_is_of_the_batch_not_of_each_submission() -> None:
    world, batch = poisoned(bad=["0.txt"], budget=4, files=2, submissions=5)

    world.run()

    assert world.views.batch(batch).isolated == 4
    conserved(world, batch, 10)
    assert Counter(outcomes(world).values()) == {"failed": 2 + 3 * 2, "succeeded": 2}


def test_what_the_provider_refuses_is_split_too() -> None:
    world, batch = poisoned(bad=[], files=5)

    def refuse(request: SubmitRequest) -> None:
        if any(upload.name == "3.txt" for upload in request.uploads):
            raise Refused("unreadable", http_status=422)

    world.provider.on_submit = refuse

    world.run()

    view = world.views.batch(batch)
    assert failed(world) == {"3.txt"}
    assert view.reasons["rejected"] == 1
    assert view.closed


def test_a_run_is_tried_again_first_where_that_is_the_policy() -> None:
    world, batch = poisoned(bad=["1.txt"], files=2)
    world.waits = Waits(retry_failed_runs=1)
    world.restart()

    world.run()

    whole, first, second = world.views.submissions(batch)
    assert [item.attempt for item in (whole, first, second)] == [2, 1, 2]
    assert [item.reason for item in (whole, first, second)] == [REASON, "completed", "run_failed"]
    assert failed(world) == {"1.txt"}


def test_messages_that_come_three_times_change_nothing() -> None:
    world, batch = poisoned(files=20, bad=["7.txt"])
    world.copies = 3

    world.run()

    assert failed(world) == {"7.txt"}
    conserved(world, batch, 20)


def test_the_record_of_the_whole_keeps_its_run_and_its_error_and_has_no_files_of_its_own() -> None:
    world, batch = poisoned(files=4, bad=["0.txt"])

    world.run()

    part = world.sink.parts[submission_id(batch, 1)]
    assert (part.record["outcome"], part.record["reason"], part.record["run_id"]) == ("failed", REASON, "1000")
    assert part.record["error"]["message"] == "a prompt failed"
    assert part.record["files"] == [f"1/{n}.txt" for n in range(4)]
    assert part.files == []
    verbs = [row["verb"] for row in world.views.journal(batch, part.submission)]
    assert verbs == ["plan", "begin", "accepted", "finish", "split"]


def finished(world: World, batch: str) -> Submission:
    """Carry a batch's first submission until its run has failed, and export nothing."""
    world.drop = lambda follow: follow.step.value == "export"
    name = submission_id(batch, 1)
    world.run(until=lambda: world.views.submission(name).state is State.FINISHED)
    return world.views.submission(name)


def test_the_answer_stays_the_same_however_the_budget_changes_meanwhile() -> None:
    """Two workers may export at once, the slower one with an older answer: both write the same record."""
    world, batch = poisoned(files=2, bad=["0.txt"], budget=0)
    item = finished(world, batch)
    assert world.ledger.isolate(item.id, item.generation) is False

    world.ledger.choose(batch, {Choice.ISOLATE: "2"})

    assert world.ledger.isolate(item.id, item.generation) is False
    world.drop = lambda _follow: False
    world.run()
    assert (len(world.provider.runs), world.sink.parts[item.id].record["reason"]) == (1, "run_failed")


def test_deciding_twice_costs_once() -> None:
    world, batch = poisoned(files=2, bad=["0.txt"], budget=3)
    item = finished(world, batch)

    assert [world.ledger.isolate(item.id, item.generation) for _ in range(3)] == [True] * 3
    assert isinstance(world.ledger.isolate(item.id, item.generation - 1), Lost)

    view = world.views.batch(batch)
    assert (view.isolated, view.files_by_outcome[Outcome.FAILED], view.reasons) == (2, 0, {REASON: 1})


def test_what_was_split_is_never_sent_again_and_a_half_that_failed_is() -> None:
    world, batch = poisoned(files=4, bad=["2.txt"])
    world.run()
    whole = world.views.submission(submission_id(batch, 1))
    bad = next(item for item in world.views.submissions(batch) if item.reason == "run_failed")

    assert isinstance(world.ledger.retry(whole.id, whole.generation, reason="by_person"), Lost)
    world.provider.poison = lambda _names: False
    moved = world.ledger.retry(bad.id, bad.generation, reason="by_person")
    assert isinstance(moved, Moved)
    world.send([moved.follow] if moved.follow else [])
    world.run()

    assert failed(world) == set()
    view = world.views.batch(batch)
    assert view.closed
    assert view.files_by_outcome[Outcome.SUCCEEDED] == 4
    assert summarize(view, 0)["files"]["failed"] == 0


def test_a_half_that_fails_again_after_the_budget_was_raised_is_split_further() -> None:
    world, batch = poisoned(files=4, bad=["2.txt"], budget=2)
    world.run()
    assert failed(world) == {"2.txt", "3.txt"}

    world.ledger.choose(batch, {Choice.ISOLATE: "4"})
    half = world.views.submission(submission_id(batch, halves_of(1)[1]))
    moved = world.ledger.retry(half.id, half.generation, reason="by_person")
    assert isinstance(moved, Moved)
    world.send([moved.follow] if moved.follow else [])
    world.run()

    assert failed(world) == {"2.txt"}
    assert world.views.batch(batch).isolated == 4


def test_the_audit_asks_after_halves_too() -> None:
    world, batch = poisoned(files=2, bad=["0.txt"])
    half = submission_id(batch, halves_of(1)[1])
    world.run(until=lambda: len(world.provider.runs) == 3)

    extra = world.provider.start(f"{batch}.{half}")
    world.run()

    assert world.views.batch(batch).duplicates == {extra.run_id: half}


def test_halves_may_have_been_sent_in_what_a_lost_redis_knew_so_the_provider_is_asked() -> None:
    world, batch = poisoned(files=2, bad=["0.txt"])
    world.policy = PacePolicy(durable=False, watch_clock=False)
    world.redis.set(SERVER_KEY, "first")
    world.restart()
    batch = world.plan(1, name="another", files=2)
    world.ledger.choose(batch, {Choice.ISOLATE: "9"})
    finished(world, batch)
    halves = [submission_id(batch, index) for index in halves_of(1)]
    sent = [
        world.provider.start(f"{batch}.{half}", (name,)) for half, name in zip(halves, ("0.txt", "1.txt"), strict=True)
    ]

    world.redis.set(SERVER_KEY, "second")
    world.drop = lambda _follow: False
    world.run()

    assert {item.run_id for item in world.views.submissions(batch) if item.id in halves} == {run.run_id for run in sent}
    assert all(index_of(half) > 10**9 for half in halves)
    assert [row["verb"] for row in world.views.journal(batch, halves[0])][:3] == ["plan", "doubt", "accepted"]

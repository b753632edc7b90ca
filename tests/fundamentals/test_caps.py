"""The manual, part nine: how far a batch may go, in runs, credits and failures."""

from __future__ import annotations

from dataclasses import replace

from paceline.model import BatchSpec, Choice, ErrorNote, Outcome, PlannedFile, PlannedSubmission, RunView, submission_id
from paceline.replies import Moved, Restored
from paceline.steps.context import Waits
from tests.support.fake_provider import CAPABILITIES, lost_answer
from tests.support.world import World


def fail_every(world: World, nth: int) -> None:
    """Let every nth run fail."""
    world.provider.outcome = lambda external: Outcome.FAILED if int(external[-6:]) % nth == 0 else Outcome.SUCCEEDED


def paused(world: World, batch: str) -> str | None:
    return world.views.batch(batch).paused


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


def test_a_first_run_that_is_held_does_not_leave_the_others_waiting_for_its_price() -> None:
    world = World()
    world.provider.capabilities = replace(CAPABILITIES, finds_many=0, asks_after_many=0)
    world.provider.after_accept = lost_answer
    batch = world.plan(10, choices={Choice.MAX_CREDITS: "100"})
    world.run(600)
    assert (world.states(batch), paused(world, batch)) == ({"planned": 9, "held": 1}, "max_credits")


def test_what_a_person_gives_up_unknown_still_counts() -> None:
    world = World()
    world.provider.capabilities = replace(CAPABILITIES, finds_many=0, asks_after_many=0)
    world.provider.after_accept = lost_answer
    batch = world.plan(10, choices={Choice.MAX_RUNS: "3"})
    world.run(600)
    error = ErrorNote("request", "submit", "given up by hand")
    for name in world.views.held(batch):
        item = world.views.submission(name)
        world.ledger.give_up(name, item.generation, reason="given_up", error=error)
    world.provider.after_accept = None
    _, follow = world.ledger.resume("fake", batch=batch)
    world.send([follow] if follow else [])
    world.run(600)
    assert len(world.provider.runs) == 3


def test_a_limit_on_credits_stops_where_nobody_says_what_runs_cost() -> None:
    world = World()
    view = world.provider._view
    world.provider._view = lambda run: replace(view(run), credits=None)  # type: ignore[method-assign]
    batch = world.plan(10, choices={Choice.MAX_CREDITS: "100"})
    world.run(600)
    assert len(world.provider.runs) == 1
    assert "what a run costs is not known" in (world.views.batch(batch).paused_message or "")


def test_a_batch_that_waits_at_its_cap_lets_others_go() -> None:
    world = World()
    world.provider.run_s = 300.0
    waiting = world.plan(50, name="waiting", priority=5, choices={Choice.MAX_CREDITS: "1000"})
    other = world.plan(20, name="other")
    before = world.delivered
    world.run(60)
    sent = [external.partition(".")[0] for _, external in world.provider.arrivals]
    assert (sent.count(waiting), sent.count(other)) == (1, 20)
    assert world.delivered - before < 600, "once a second is often enough to look whether it may go on"


def test_what_was_let_pass_and_is_sent_again_counts_again() -> None:
    world = World()
    world.provider.rates = {**world.provider.rates}
    fail_every(world, 1)
    batch = world.plan(40, choices={Choice.MAX_FAILURES: "2"})
    world.run(600)
    world.ledger.resume("fake", batch=batch)
    again = list(world.views.submissions(batch))
    for item in again:
        moved = world.ledger.retry(item.id, item.generation, reason="by_person")
        world.send([moved.follow] if isinstance(moved, Moved) and moved.follow else [])
    world.run(600)
    assert paused(world, batch) == "too_many_failures"
    assert world.views.batch(batch).judged["failed"] <= 40


def test_a_rebuilt_ledger_knows_what_was_spent() -> None:
    world = World()
    first = world.plan(6, name="first")
    world.run()
    records = {item.id: item for item in world.views.submissions(first)}
    world.redis.flushdb()
    world.restart()
    world._tick(0)
    spec = BatchSpec("/files", "fake", "fake", "7", ("/out",), 3, "again", choices={Choice.MAX_CREDITS: "9"})
    world.ledger.open_batch(spec, manifest="/out/manifest.jsonl", rebuilding="being rebuilt")
    batch = spec.batch_id()
    for index, item in enumerate(records.values(), 1):
        files = (PlannedFile(f"{index}.txt", 10, 1, f"{index}.txt"),)
        ended = Restored(
            Outcome.SUCCEEDED,
            "completed",
            2,
            item.planned_ms,
            item.submitted_ms,
            item.finished_ms,
            item.run_id,
            credits=item.credits,
        )
        world.ledger.restore(batch, PlannedSubmission(index, files), ended, manifest_bytes=index)
    row = world.redis.hmget(f"pl:b:{batch}", ["credits", "credits_most", "perhaps", "runs_accepted"])
    assert [float(value) for value in row] == [9.0, 1.5, 6.0, 6.0]


def test_what_is_sent_again_without_asking_counts_twice() -> None:
    world = World(waits=Waits(settle_s=5))
    world.provider.capabilities = replace(CAPABILITIES, finds_many=0, asks_after_many=0)
    world.restart()
    account = replace(world.context.accounts["fake"], resubmits=True)
    world.context = replace(world.context, accounts={"fake": account})
    world.runner.context = world.context
    lost = [True]
    world.provider.after_accept = lambda request: lost_answer(request) if lost and lost.pop() else None
    batch = world.plan(5, choices={Choice.MAX_RUNS: "2"})
    world.run(600)
    assert len(world.provider.runs) == 2
    assert paused(world, batch) == "max_runs"


def test_what_is_held_for_a_file_has_no_run_that_nobody_knows() -> None:
    world = World()
    batch = world.plan(1, choices={Choice.MAX_RUNS: "9"})
    item = next(world.views.submissions(batch))
    world.ledger.hold(item.id, item.generation, reason="file_changed")
    held = world.views.submission(item.id)
    error = ErrorNote("request", "submit", "given up by hand")
    world.ledger.give_up(item.id, held.generation, reason="given_up", error=error)
    assert world.redis.hget(f"pl:b:{batch}", "perhaps") is None


def test_a_duplicate_without_a_price_counts_until_it_has_one() -> None:
    world = World()
    batch = world.plan(1)
    world.run()
    item = submission_id(batch, 1)
    extra = RunView("9999", None, "running", None)
    world.ledger.accepted(item, extra, attempt=None, first_poll_s=0.0)
    assert world.redis.hmget(f"pl:b:{batch}", ["unpriced", "credits_twice"]) == [b"1", None]
    for _ in range(2):
        world.ledger.accepted(item, replace(extra, credits=4.0), attempt=None, first_poll_s=0.0)
    assert world.redis.hmget(f"pl:b:{batch}", ["unpriced", "credits_twice"]) == [b"0", b"4"]

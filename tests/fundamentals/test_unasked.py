"""The manual, part seven: a provider with neither lists nor ids of ours; one question per run, no second payment."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from paceline import redis_keys as keys
from paceline.errors import Ambiguous, NotSent
from paceline.model import EndpointClass, Rate, submission_id
from paceline.steps.context import Waits
from tests.support.fake_provider import CAPABILITIES, RATES, fail_with, lost_answer
from tests.support.world import World


def unasked(*, resubmits: bool = False, get: Rate | None = None, add: Rate | None = None) -> World:
    """Make a world whose provider can be asked after one run at a time, and for none."""
    world = World(waits=Waits(settle_s=20.0))
    world.provider.capabilities = replace(CAPABILITIES, asks_after_many=0, finds_many=0, cancels=False)
    rates = {**RATES, EndpointClass.GET: get or Rate(300, 60.0), EndpointClass.ADD: add or Rate(60, 60.0)}
    world.provider.rates = rates
    accounts = dict(world.context.accounts)
    accounts["fake"] = replace(accounts["fake"], rates=rates, resubmits=resubmits)
    world.context.accounts.clear()  # type: ignore[attr-defined]  # a dictionary here
    world.context.accounts.update(accounts)  # type: ignore[attr-defined]
    return world


def verbs(world: World, batch: str) -> list[str]:
    """Name what happened to a batch's submissions, in order."""
    return [row[b"verb"].decode() for _, row in world.redis.xrange(keys.journal(batch))]


def test_a_lost_answer_never_starts_a_second_run() -> None:
    world = unasked()
    world.provider.after_accept = lost_answer
    batch = world.plan(1)
    world.run()
    assert world.states(batch) == {"held": 1}
    assert world.views.submission(submission_id(batch, 1)).reason == "no_way_to_know"
    assert len(world.provider.arrivals) == 1
    assert not [what for what, _ in world.provider.reads if what == "find"]


def test_what_surely_was_not_sent_is_sent_again_by_itself() -> None:
    world = unasked()
    world.provider.on_submit = fail_with(NotSent("refused"), times=2)
    batch = world.plan(1)
    world.run()
    assert world.states(batch) == {"exported": 1}


def test_an_account_set_so_sends_again_what_nobody_can_tell_about_once_it_has_settled() -> None:
    world = unasked(resubmits=True)
    world.provider.on_submit = fail_with(Ambiguous("timed out"), times=1)
    batch = world.plan(1)
    world.run()
    assert world.states(batch) == {"exported": 1}
    first, second = [at for at, _ in world.provider.arrivals]
    assert second - first >= world.waits.settle_s
    assert verbs(world, batch).count("resubmit") == 1


def test_an_answer_that_is_lost_every_time_is_not_paid_for_without_end() -> None:
    world = unasked(resubmits=True)
    world.provider.after_accept = lost_answer
    batch = world.plan(1)
    world.run(5_000)
    assert world.states(batch) == {"held": 1}
    assert len(world.provider.arrivals) == 3


def test_what_this_machine_remembers_comes_before_sending_again() -> None:
    world = unasked(resubmits=True)
    batch = world.plan(1)
    real = world.ledger.accepted
    world.ledger.accepted = lambda *_, **__: None  # type: ignore[method-assign,assignment]  # the reply never counts
    world.run(until=lambda: len(world.provider.arrivals) == 1 and bool(world.spool.notes.accepted))
    world.ledger.accepted = real  # type: ignore[method-assign]
    world.run()
    assert world.states(batch) == {"exported": 1}
    assert len(world.provider.arrivals) == 1


def test_a_run_is_asked_after_soon_and_then_every_five_to_ten_seconds() -> None:
    world = unasked()
    world.provider.run_s = 60.0
    asked: list[float] = []
    world.provider.on_read = lambda what: asked.append(world.clock)
    world.plan(1)
    world.run()
    began = world.provider.arrivals[0][0]
    assert 1.0 <= asked[0] - began <= 2.6
    gaps = [later - sooner for sooner, later in pairwise(asked)]
    assert all(4.6 <= gap <= 10 for gap in gaps)


@pytest.mark.parametrize("runs", [30, 100])
def test_many_runs_are_all_asked_after_within_the_pace_and_the_interval_grows(runs: int) -> None:
    world = unasked(get=Rate(300, 60.0), add=Rate(10_000, 60.0))
    world.provider.run_s = 10_000.0
    asked: dict[str, list[float]] = {}
    real = world.provider.ask

    def ask(agent: str, run_ids: list[str]) -> object:
        assert len(run_ids) == 1
        asked.setdefault(run_ids[0], []).append(world.clock)
        return real(agent, run_ids)

    world.provider.ask = ask  # type: ignore[method-assign,assignment]  # it notes what it is asked
    batch = world.plan(runs)
    sweep_s = runs * 60 / 300 / 0.8
    world.run(4 * sweep_s + 20)
    assert len(asked) == runs
    longest = max(later - sooner for times in asked.values() for sooner, later in pairwise(times))
    assert longest <= sweep_s + 8
    settled = [later - sooner for times in asked.values() for sooner, later in pairwise(times[1:])]
    assert min(settled) >= sweep_s - 0.5  # so a fifth of the pace is left to others
    assert world.states(batch) == {"running": runs}


def test_a_run_that_is_not_known_yet_is_not_asked_after_twice_at_once() -> None:
    world = unasked()
    world.provider.run_s = 300.0
    batch = world.plan(1)
    world.run(until=lambda: bool(world.provider.runs))
    world.provider.hidden = set(world.provider.runs)
    began = world.clock
    world.run(until=lambda: world.clock - began > 250)  # past the time of grace
    assert {what for what, _ in world.provider.reads} == {"ask"}
    assert world.states(batch) == {"running": 1}
    world.provider.hidden = set()
    world.run()
    assert world.states(batch) == {"exported": 1}

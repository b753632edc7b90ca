"""What a dead worker had messages for needn't wait for anything but the next worker."""

from __future__ import annotations

from paceline.model import State, Step
from paceline.steps.rescuing import worker_died
from tests.support.world import World


def test_what_was_released_to_a_dead_worker_is_released_again_at_once() -> None:
    world = World()
    world.drop = lambda follow: follow.step is Step.SUBMIT  # the worker has their messages, and is killed
    batch = world.plan(3)
    world.run(1.0)
    assert {item.state for item in world.views.submissions(batch)} == {State.PLANNED}

    world.drop = lambda _follow: False
    world.send(worker_died(world.ledger, world.context.chains, world.views, "dead", 20.0))
    world.run(2.0)

    assert {item.state for item in world.views.submissions(batch)}.isdisjoint({State.PLANNED})
    assert {item.attempt for item in world.views.submissions(batch)} == {1}


def test_a_death_wakes_nobody_where_nothing_was_released() -> None:
    world = World()
    world.plan(1)
    world.run(60.0)
    assert worker_died(world.ledger, world.context.chains, world.views, "dead", 20.0) == []

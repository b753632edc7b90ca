"""The manual, part eleven: runs whose end is waited for in the call that starts them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paceline.model import Choice, EndpointClass
from tests.support.world import World


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

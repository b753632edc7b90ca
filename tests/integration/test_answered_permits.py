"""An answer ends the life of its request's permit: what that saves, and that no window ever holds a request more."""

from __future__ import annotations

import heapq
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paceline.model import EndpointClass, Rate, RunView, submission_id
from paceline.replies import Begun, Moved, Wait
from paceline.steps.feeding import feed
from tests.support.world import World

ADD = EndpointClass.ADD
RATE = Rate(2, 60.0)
RATES = dict.fromkeys(EndpointClass, RATE)
WINDOW_S, LIFE_S, MARGIN_S = 60.0, 1.0, 0.1


def ask(world: World, item: str, rate: Rate = RATE) -> Begun | Wait:
    generation = world.views.submission(item).generation
    begun = world.ledger.begin(item, generation, rate=rate, worker="a", lease_s=90.0)
    assert isinstance(begun, Begun | Wait)
    return begun


def begin(world: World, item: str, rate: Rate = RATE) -> Begun:
    begun = ask(world, item, rate)
    assert isinstance(begun, Begun)
    return begun


def answer(world: World, item: str, attempt: int, life_s: float | None = LIFE_S) -> None:
    run = RunView(f"run of {item}", None, "running", None)
    moved = world.ledger.accepted(item, run, attempt=attempt, first_poll_s=1.5, permit_life_s=life_s)
    assert isinstance(moved, Moved)


def wait_s(world: World) -> float:
    """Return how long a taker has to wait now; takes nothing where it has to."""
    return world.context.limiter.take("fake", ADD, RATE)


def two_begun() -> tuple[World, list[str]]:
    world = World()
    batch = world.plan(2)
    items = [submission_id(batch, 1), submission_id(batch, 2)]
    for item in items:
        begin(world, item)
    return world, items


def test_an_answered_request_counts_a_window_from_its_answer() -> None:
    world, items = two_begun()
    world._tick(0.3)
    answer(world, items[0], 1)
    assert wait_s(world) == pytest.approx(WINDOW_S + MARGIN_S, abs=0.002)


def test_without_an_answer_a_request_counts_for_the_life_of_its_permit_too() -> None:
    world, _ = two_begun()
    world._tick(0.3)
    assert wait_s(world) == pytest.approx(WINDOW_S + LIFE_S + MARGIN_S - 0.3, abs=0.002)


def test_a_late_answer_makes_no_permit_count_longer() -> None:
    world, items = two_begun()
    world._tick(30.0)
    for item in items:
        answer(world, item, 1)
    assert wait_s(world) == pytest.approx(WINDOW_S + LIFE_S + MARGIN_S - 30.0, abs=0.002)


def test_the_answer_of_an_earlier_attempt_ends_no_other_permit() -> None:
    world = World()
    item = submission_id(world.plan(1), 1)
    first = begin(world, item)
    world.ledger.uncertain(item, first.generation, reason="lease_expired", first_look_s=0.5)
    for _ in range(2):
        generation = world.views.submission(item).generation
        world.ledger.absent(item, generation, counts=True, needed=2, next_look_s=1.0, apart_s=0.0)
    world._tick(50.0)
    begin(world, item)
    world._tick(0.1)
    answer(world, item, 1)
    world._tick(12.0)  # the first permit has left the log
    assert wait_s(world) == 0
    assert wait_s(world) == pytest.approx(WINDOW_S + LIFE_S + MARGIN_S - 12.1, abs=0.002)


def test_a_clock_that_was_back_for_a_while_frees_no_permit_early() -> None:
    """Nobody took a permit meanwhile, so nobody noticed; or it was less than what is noticed."""
    world, items = two_begun()
    world._tick(-30.0)
    for item in items:
        answer(world, item, 1)
    world._tick(31.0)
    assert wait_s(world) == pytest.approx(WINDOW_S + MARGIN_S - 1.0, abs=0.002)


def test_a_feed_looks_again_before_permits_have_outlived_their_requests() -> None:
    world = World()
    world.provider.rates = dict.fromkeys(EndpointClass, Rate(2, 30.0))
    world.restart()
    batch = world.plan(3)
    feed(world.context, "fake")
    for index in (1, 2):
        begin(world, submission_id(batch, index), Rate(2, 30.0))
    _, again_s = feed(world.context, "fake")
    assert again_s == pytest.approx(30.0 + MARGIN_S, abs=0.002)


EVENTS = st.lists(
    st.tuples(st.floats(0, 0.4), st.floats(0, 3), st.booleans(), st.floats(0, 2)), min_size=8, max_size=16
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=EVENTS, limit=st.integers(1, 4))
def test_no_window_holds_more_than_the_limit_however_fast_answers_come(
    plan: list[tuple[float, float, bool, float]], limit: int
) -> None:
    """Of each submission: how late in its permit's life it arrives, how long its answer takes, whether one comes."""
    world = World()
    rate = Rate(limit, 4.0)
    life_s = world.context.limiter.policy.life_s(rate)
    batch = world.plan(len(plan))
    events: list[tuple[float, int, str, int]] = []
    order, arrivals = itertools.count(), []
    for index, (late_s, takes_s, answered, pause_s) in enumerate(plan, 1):
        item = submission_id(batch, index)
        at = world.clock + pause_s
        while True:
            while events and events[0][0] <= at:
                then, _, other, attempt = heapq.heappop(events)
                world._tick(max(then - world.clock, 0.0))
                answer(world, other, attempt, life_s)
            world._tick(max(at - world.clock, 0.0))
            begun = ask(world, item, rate)
            if isinstance(begun, Begun):
                break
            at = min([world.clock + begun.seconds, *(event[0] for event in events[:1])])
        arrived = world.clock + min(late_s, life_s)
        arrivals.append(arrived)
        if answered:
            heapq.heappush(events, (arrived + takes_s, next(order), item, begun.attempt))
    arrivals.sort()
    assert all(late - early >= rate.window_s for early, late in zip(arrivals, arrivals[limit:], strict=False))

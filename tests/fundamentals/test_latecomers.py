"""Whoever was stopped, and goes on when others have taken over, changes nothing any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paceline.ledger import Ledger
from paceline.model import ErrorNote, Rate, State, Step, submission_id
from paceline.replies import Begun, Lost, Moved
from tests.support.world import World

RATE = Rate(40, 60.0)


def begin(world: World, item: str, generation: int, token: str = "") -> int:
    """Begin a request; return its generation."""
    begun = world.ledger.begin(item, generation, rate=RATE, worker="w", lease_s=90.0, token=token)
    assert isinstance(begun, Begun)
    return begun.generation


LATE: dict[str, Callable[[Ledger, str, int], object]] = {
    "not sent": lambda ledger, item, generation: ledger.put_back(item, generation, reason="not_sent", unused=True),
    "unclear": lambda ledger, item, generation: ledger.uncertain(item, generation, reason="late", first_look_s=1.0),
    "refused": lambda ledger, item, generation: ledger.reject(
        item, generation, reason="rejected", error=ErrorNote("request", "submit", "no")
    ),
    "blocked": lambda ledger, item, generation: ledger.pause(item, generation, reason="no_credit", message="late"),
}


@pytest.mark.parametrize("word", LATE)
def test_a_late_word_about_an_earlier_request_says_nothing_about_the_one_under_way(word: str) -> None:
    world = World()
    item = submission_id(world.plan(1), 1)
    earlier = begin(world, item, 1)
    world.ledger.uncertain(item, earlier, reason="lease_expired", first_look_s=1.0)
    absent = world.ledger.absent(item, earlier + 1, counts=True, needed=1, next_look_s=1.0, apart_s=0.0)
    assert isinstance(absent, Moved)
    now = begin(world, item, absent.generation)

    said = LATE[word](world.ledger, item, earlier)

    assert isinstance(said, Lost)
    after = world.views.submission(item)
    assert (after.state, after.generation, after.attempt) == (State.SUBMITTING, now, 2)


def test_a_request_that_never_began_takes_nobody_elses_back() -> None:
    world = World()
    item = submission_id(world.plan(1), 1)
    generation = begin(world, item, 1, token="theirs")

    ours = world.ledger.put_back(item, generation, reason="not_sent", unused=True, token="ours")
    assert isinstance(ours, Lost)
    assert world.views.submission(item).state is State.SUBMITTING

    theirs = world.ledger.put_back(item, generation, reason="not_sent", unused=True, token="theirs")
    assert isinstance(theirs, Moved)


@pytest.mark.parametrize("again_s", [None, 1000.0])
def test_a_turn_that_lost_its_claim_neither_ends_nor_prolongs_the_chain(again_s: float | None) -> None:
    world = World()
    chains = world.context.chains
    chains.wake(Step.POLL, "fake:7")
    stopped = chains.claim(Step.POLL, "fake:7", lease_s=30.0)
    world._tick(31.0)
    other = chains.claim(Step.POLL, "fake:7", lease_s=30.0)
    assert stopped is not None
    assert other is not None

    assert chains.next(Step.POLL, "fake:7", stopped, again_s) is None

    assert chains.claim(Step.POLL, "fake:7", lease_s=30.0) is None  # the other one's turn still
    assert chains.next(Step.POLL, "fake:7", other, 5.0) is not None
    assert world.redis.zcard("pl:chains") == 1

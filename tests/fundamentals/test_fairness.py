"""The manual, part four: who goes first on an account."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from paceline.model import Step, batch_of
from tests.support.world import World


def order(world: World) -> list[str]:
    return [batch_of(external.partition(".")[2]) for _, external in world.provider.arrivals]


def test_a_small_batch_starts_at_once_beside_a_huge_one() -> None:
    world = World()
    huge = world.plan(400, name="huge")
    world.run(90)
    small = world.plan(5, name="small")
    before = len(world.provider.arrivals)
    world.run(61.2 * 2)
    after = Counter(order(world)[before:])
    assert after[small] == 5
    assert after[huge] >= 40


def test_equal_batches_share_equally() -> None:
    world = World()
    batches = [world.plan(200, name=name) for name in ("a", "b", "c")]
    world.run(61.2 * 4)
    shares = Counter(order(world))
    assert max(shares.values()) - min(shares[one] for one in batches) <= 2 + 40


def test_a_higher_priority_goes_first() -> None:
    world = World()
    low = world.plan(100, name="low")
    world.run(5)
    high = world.plan(60, name="high", priority=5)
    before = len(world.provider.arrivals)
    world.run(61.2 * 2)
    seen = order(world)[before:]
    assert seen[:60].count(high) >= 55
    assert low in seen


def test_a_batch_of_a_paused_kind_does_not_stop_the_others() -> None:
    world = World()
    one, other = world.plan(10, name="one"), world.plan(10, name="other")
    item = next(world.views.submissions(one))
    world.ledger.pause(item.id, item.generation, reason="by_hand", message="wait", whole_account=False)
    world.run(300)
    assert world.states(other) == {"exported": 10}
    assert world.states(one) == {"planned": 10}
    was, follow = world.ledger.resume("fake", batch=one)
    assert was
    world.send([follow] if follow else [])
    world.run()
    assert world.states(one) == {"exported": 10}


def test_a_worker_that_means_another_server_sends_nothing_there() -> None:
    world = World()
    batch = world.plan(3)
    account = world.context.accounts["fake"]
    elsewhere = replace(account, address="https://elsewhere.example")
    world.context.accounts["fake"] = elsewhere  # type: ignore[index]  # the world's own dict
    world.run(300)
    assert world.provider.arrivals == []
    assert world.provider.reads == []
    # A message that was sent before the address changed stops its batch rather than go there.
    item = next(world.views.submissions(batch))
    world.runner.run(Step.SUBMIT, item.id)
    assert world.provider.arrivals == []
    assert world.views.batch(batch).paused == "wrong_address"
    world.context.accounts["fake"] = account  # type: ignore[index]  # the world's own dict
    _, follow = world.ledger.resume("fake", batch=batch)
    world.send([follow] if follow else [])
    world.run()
    assert world.states(batch) == {"exported": 3}

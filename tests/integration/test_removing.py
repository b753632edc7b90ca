"""Complete batches are removed from the ledger: as a whole, again after a crash, and never to be paid for again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paceline.errors import BatchForgotten, UnknownBatch
from paceline.model import Outcome, submission_id
from paceline.removing import Remover, all_forgotten, find_forgotten, is_removable
from paceline.replies import Lost
from paceline.scripts import Scripts
from paceline.summary import summarize
from tests.support.lost import Scene
from tests.support.world import World

LEFT = {b"pl:accounts", b"pl:forgotten", b"pl:known", b"pl:g:fake:7:known", b"pl:a:fake"}
"""What may stay: accounts, their pace, one run for each agent, what is known, and that the batch was paid for."""


class Stop(Exception):
    """The process dies here."""


class Dying(Scripts):
    """Scripts whose process dies before the one that is the `at`-th."""

    def __init__(self, redis: Any, at: int) -> None:
        super().__init__(redis)
        self.left = at

    def run(self, name: str, keys: Any, args: Any = ()) -> Any:
        if self.left == 0:
            raise Stop
        self.left -= 1
        return super().run(name, keys, args)


def remover(redis: Any, at: int = -1) -> Remover:
    return Remover(redis, Dying(redis, at), lambda submission: f"result-of-{submission}")


def complete(world: World, submissions: int = 3) -> str:
    batch = world.plan(submissions)
    world.run()
    for index in range(1, submissions + 1):
        world.redis.set(f"result-of-{submission_id(batch, index)}", b"x", ex=1000)
    assert is_removable(world.views.batch(batch))
    return batch


def remove(world: World, batch: str, at: int = -1) -> bool:
    view = world.views.batch(batch)
    return remover(world.redis, at).remove(view, summarize(view, world.views.now_ms()))


def keys_of(redis: Any) -> set[bytes]:
    passing = (b":pace:", b":gap", b"pl:test:", b"pl:chains")
    found = {name for name in redis.keys("*") if not any(word in name for word in passing)}
    return {b"pl:known" if name.startswith(b"pl:known:") else name for name in found}


def test_nothing_stays_but_that_it_was_paid_for(real_redis: Any) -> None:
    world = World(real_redis)
    batch = complete(world, 250)
    summary = summarize(world.views.batch(batch), world.views.now_ms())
    assert remove(world, batch)
    assert keys_of(real_redis) == LEFT
    assert world.views.batch_ids() == []
    gone = find_forgotten(real_redis, batch)
    assert gone is not None
    assert (gone.to, gone.summary) == (("/out",), summary)
    assert find_forgotten(real_redis, "b000000000") is None
    assert [one.to for one in all_forgotten(real_redis)] == [("/out",)]


@pytest.mark.parametrize("at", range(5))
def test_killed_at_any_step_the_next_call_ends_it_and_nothing_is_paid_again(real_redis: Any, at: int) -> None:
    world = World(real_redis)
    batch = complete(world)
    if at < 4:
        with pytest.raises(Stop):
            remove(world, batch, at)
    else:
        assert remove(world, batch, at)
    if at == 0:
        assert world.views.batch(batch).closed
        assert remove(world, batch)
    else:
        # What is left can't be begun, retried, or mistaken for something to be sent.
        with pytest.raises(BatchForgotten, match="gc"):
            world.plan(3)
        world.restart()
        with pytest.raises(UnknownBatch):
            world.views.batch(batch)
        world.run(600)
    assert len(world.provider.arrivals) == 3
    again = remover(real_redis)
    assert again.unfinished() == ([batch] if 0 < at < 4 else [])
    for name in again.unfinished():
        again.finish(name)
    assert again.unfinished() == []
    assert keys_of(real_redis) == LEFT
    with pytest.raises(BatchForgotten, match="output"):
        world.plan(3)


def test_a_retry_at_the_same_moment_finds_nothing_to_move(real_redis: Any) -> None:
    world = World(real_redis)
    world.provider.outcome = lambda _external: Outcome.FAILED
    batch = complete(world)
    name = submission_id(batch, 2)
    item = world.views.submission(name)
    with pytest.raises(Stop):
        remove(world, batch, 1)
    assert world.views.submission(name) == item
    # This ledger has looked the batch up before, as that of another command would have.
    assert isinstance(world.ledger.retry(name, item.generation, reason="by_person"), Lost)
    assert isinstance(world.ledger.collect(name, item.generation), Lost)
    assert world.views.submission(name) == item
    assert not real_redis.exists(f"pl:b:{batch}")


def test_what_is_reopened_meanwhile_stays(real_redis: Any) -> None:
    world = World(real_redis)
    world.provider.outcome = lambda _external: Outcome.FAILED
    batch = complete(world)
    view = world.views.batch(batch)
    item = world.views.submission(submission_id(batch, 1))
    world.ledger.retry(item.id, item.generation, reason="by_person")
    before = keys_of(real_redis)
    assert not remover(real_redis).remove(view, {})
    assert not is_removable(world.views.batch(batch))
    world.run()
    # Complete again, but not as this caller has seen it.
    assert not remover(real_redis).remove(view, {})
    assert keys_of(real_redis) == before - {f"pl:b:{batch}:planned".encode(), b"pl:a:fake:feed"}


def test_a_slow_second_remover_leaves_a_batch_alone_that_came_back(tmp_path: Path, real_redis: Any) -> None:
    scene = Scene(tmp_path, redis=real_redis)
    scene.plan()
    scene.world.run()
    with pytest.raises(Stop):
        remove(scene.world, scene.id, 1)
    with pytest.raises(BatchForgotten, match="gc"):
        scene.rebuild()
    remover(real_redis).finish(scene.id)
    scene.world.restart()
    scene._with_folders()

    scene.rebuild()

    assert scene.batch().closed
    assert find_forgotten(real_redis, scene.id) is None
    before = keys_of(real_redis)
    remover(real_redis).finish(scene.id)
    assert keys_of(real_redis) == before


def test_other_batches_lose_nothing(real_redis: Any) -> None:
    world = World(real_redis)
    first, second = complete(world), world.plan(2, name="other")
    before = {name for name in keys_of(real_redis) if second.encode() in name}
    assert remove(world, first)
    assert before <= keys_of(real_redis)
    world.run()
    assert world.views.batch(second).closed


def test_only_what_is_complete_can_be_removed(real_redis: Any) -> None:
    world = World(real_redis)
    batch = world.plan(2)
    world.run(until=lambda: bool(world.views.batch(batch).runs_accepted))
    view = world.views.batch(batch)
    assert not is_removable(view)
    assert not remover(real_redis).remove(view, {})
    world.run()
    assert world.states(batch) == {"exported": 2}

"""Several exports in one turn: each as safe as alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import ref

import pytest

from paceline import redis_keys as keys
from paceline.errors import SinkError
from paceline.model import Follow, Step
from paceline.results import LookUp
from paceline.runner import Runner
from paceline.sinks.base import Part
from tests.support.seam import Crash
from tests.support.world import World


def ended(submissions: int = 5) -> tuple[World, str, list[str]]:
    """A world with a batch all of whose runs have ended, and no export begun."""
    world = World()
    world.drop = lambda follow: follow.step is Step.EXPORT
    batch = world.plan(submissions)
    world.run(until=lambda: world.states(batch) == {"finished": submissions})
    world.drop = lambda _follow: False
    world.lose_messages()
    return world, batch, [item.id for item in world.views.submissions(batch)]


def test_one_message_exports_them_all_and_the_last_one_closes_the_batch() -> None:
    world, batch, ids = ended()
    follows = world.runner.run(Step.EXPORT, *ids)
    assert [follow.step for follow in follows] == [Step.CLOSE]
    assert world.states(batch) == {"exported": 5}
    assert sorted(world.sink.parts) == ids


def test_one_that_is_named_twice_is_written_once() -> None:
    world, batch, ids = ended(2)
    written: list[str] = []
    world.sink.on_write = lambda part: written.append(part.submission)
    world.runner.run(Step.EXPORT, *ids, ids[0])
    assert written == ids
    assert world.states(batch) == {"exported": 2}


def test_doing_it_again_writes_nothing() -> None:
    world, _, ids = ended()
    world.runner.run(Step.EXPORT, *ids)
    world.sink.parts.clear()
    assert world.runner.run(Step.EXPORT, *ids) == []
    assert world.sink.parts == {}


def test_one_that_cannot_be_written_keeps_no_other_from_it() -> None:
    world, batch, ids = ended()

    def refuse(part: Part) -> None:
        if part.submission == ids[1]:
            raise SinkError("too long")

    world.sink.on_write = refuse
    world.runner.run(Step.EXPORT, *ids)
    assert world.states(batch) == {"exported": 4, "finished": 1}
    assert world.views.batch(batch).trouble == "too long"
    world.sink.on_write = None
    world.run()
    assert world.states(batch) == {"exported": 5}


def test_a_defect_met_by_one_gives_each_a_turn_of_its_own() -> None:
    world, batch, ids = ended()

    def fail(part: Part) -> None:
        if part.submission == ids[1]:
            raise ZeroDivisionError

    world.sink.on_write = fail
    follows = world.runner.run(Step.EXPORT, *ids)
    assert follows == [Follow(Step.EXPORT, item, alone=True) for item in ids[1:]]
    assert world.states(batch) == {"exported": 1, "finished": 4}
    assert sorted(world.sink.parts) == ids[:1]
    for follow in follows:
        if follow.key == ids[1]:
            with pytest.raises(ZeroDivisionError):
                world.runner.run(follow.step, follow.key)
        else:
            world.runner.run(follow.step, follow.key)
    assert world.states(batch) == {"exported": 4, "finished": 1}


def test_where_writing_is_slow_the_others_get_turns_of_their_own_and_are_read_again() -> None:
    world, batch, ids = ended()
    world.sink.on_write = lambda _part: world._tick(3.0)
    follows = world.runner.run(Step.EXPORT, *ids)
    assert follows == [Follow(Step.EXPORT, item, alone=True) for item in ids[1:]]
    assert world.states(batch) == {"exported": 1, "finished": 4}


def test_a_submission_that_another_has_exported_meanwhile_is_left_alone() -> None:
    world, batch, ids = ended()

    def meanwhile(part: Part) -> None:
        if part.submission == ids[0]:
            item = world.views.submission(ids[0])
            world.ledger.exported(item.id, item.generation)

    world.sink.on_write = meanwhile
    world.runner.run(Step.EXPORT, *ids)
    assert world.states(batch) == {"exported": 5}
    assert sum(row["verb"] == "exported" for row in world.views.journal(batch)) == 5


def test_what_could_be_written_does_not_hide_that_another_could_not() -> None:
    world, batch, ids = ended()

    def refuse(part: Part) -> None:
        if part.submission == ids[1]:
            raise SinkError("too long")

    world.sink.on_write = refuse
    world.runner.run(Step.EXPORT, *ids[:2])
    world.runner.run(Step.EXPORT, *ids[1:])
    assert world.views.batch(batch).trouble == "too long"
    world.sink.on_write = None
    world.runner.run(Step.EXPORT, ids[1])
    assert world.views.batch(batch).trouble is None


def test_what_waited_behind_a_slow_write_is_not_decided_on_by_what_was_read_before() -> None:
    world, batch, ids = ended(2)
    world.redis.hset(keys.submission(ids[1]), mapping={"outcome": "failed", "reason": "run_failed"})
    world.context = replace(world.context, waits=replace(world.waits, retry_failed_runs=1))
    runner = Runner(world.context)

    def slow(_part: Part) -> None:
        world._tick(30.0)
        world.ledger.cancel_batch(batch, message="cancelled by a person")

    world.sink.on_write = slow
    follows = runner.run(Step.EXPORT, *ids)
    assert Follow(Step.EXPORT, ids[1], alone=True) in follows
    assert world.states(batch) == {"exported": 1, "finished": 1}


class Text(str):
    """What a run returned, whose end can be noticed."""


def unpacking(look_up: LookUp, made: list[ref[Text]]) -> LookUp:
    """Make a record anew at each look, as from what the backend gives."""

    def anew(name: str) -> Mapping[str, Any] | None:
        record, text = look_up(name), Text("long")
        made.append(ref(text))
        return record and {**record, "data": {"text": text}}

    return anew


def test_a_message_with_many_large_results_takes_the_memory_of_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _, ids = ended(8)
    some, made, alive = world.results.some, list[ref[Text]](), list[int]()
    monkeypatch.setattr(world.results, "some", lambda names: unpacking(some(names), made))
    world.sink.on_write = lambda _part: alive.append(sum(one() is not None for one in made))
    monkeypatch.setattr(world.sink, "parts", Forgetting())
    world.runner.run(Step.EXPORT, *ids)
    assert len(alive) == 8
    assert max(alive) <= 2


class Forgetting(dict[str, Part]):
    """Keeps nothing, like a sink that writes to a disk."""

    def __setitem__(self, name: str, part: Part) -> None:
        """Forget."""


def test_one_that_ends_its_worker_does_not_take_the_same_others_with_it_again_and_again() -> None:
    world, batch, ids = ended()

    def die(part: Part) -> None:
        if part.submission == ids[1]:
            raise Crash

    world.sink.on_write = die
    world.send([Follow(Step.EXPORT, item) for item in ids])
    world.run(300.0)
    assert world.crashes > 1
    assert world.states(batch) == {"exported": 4, "finished": 1}

"""How all batches stand, told at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cli.standing import look_at_all
from paceline.views import Views
from tests.support.world import World


def test_batches_that_are_complete_cost_no_question_each() -> None:
    world = World()
    for number in range(8):
        batch = world.plan(1, name=f"night {number}")
        world.redis.hset(f"pl:b:{batch}", "closed", 1)
    asked: list[str] = []
    execute = world.redis.execute_command

    def counting(*command: Any, **options: Any) -> Any:
        asked.append(str(command[0]))
        return execute(*command, **options)

    world.redis.execute_command = counting
    services: Any = SimpleNamespace(views=Views(world.redis))

    standings = look_at_all(services)

    assert {one.batch.name for one in standings} == {f"night {number}" for number in range(8)}
    assert len(asked) <= 5

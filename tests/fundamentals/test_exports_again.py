"""The manual, in passing: how soon an export that could not be written is tried again."""

from __future__ import annotations

import itertools

from paceline.errors import SinkError
from paceline.sinks.base import Part
from paceline.steps.context import Waits
from tests.support.world import World


def test_an_export_that_fails_is_tried_again_as_often_as_is_set() -> None:
    world = World(waits=Waits(export_again_s=4.0))
    batch = world.plan(1)
    times: list[float] = []

    def busy(_part: Part) -> None:
        times.append(world.clock)
        if len(times) < 4:
            raise SinkError("no room")

    world.sink.on_write = busy
    world.run()
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert world.states(batch) == {"exported": 1}
    assert len(gaps) == 3
    assert all(4.0 <= gap < 4.0 + world.rescue_every_s for gap in gaps)

"""A destination that fails or hangs is tried by one thread of a process, and others are left alone."""

from __future__ import annotations

from contextlib import suppress

import pytest

from paceline.errors import SinkBusy, SinkError
from paceline.sinks.turns import SLOW_S, Turns
from tests.support.clock import Clock


def fail(turns: Turns, place: str) -> None:
    """Let a write fail."""
    with suppress(SinkError), turns.at(place):
        raise SinkError("no")


def test_writes_to_a_place_that_is_quick_go_on_side_by_side() -> None:
    clock = Clock()
    turns = Turns(clock)
    with turns.at("a"):
        clock.now_s += SLOW_S / 2
        with turns.at("a"), turns.at("a"), turns.at("b"):
            pass


def test_a_slow_write_is_waited_for_and_other_places_are_not() -> None:
    clock = Clock()
    turns = Turns(clock)
    with turns.at("a"):
        clock.now_s += SLOW_S
        with pytest.raises(SinkBusy, match="another write to a"), turns.at("a"):
            pass
        with turns.at("b"):
            pass
    with turns.at("a"):
        pass


def test_one_at_a_time_tries_a_place_that_failed_until_it_takes_something() -> None:
    turns = Turns(Clock())
    fail(turns, "a")
    for _ in range(2):
        with turns.at("b"), turns.at("b"), suppress(SinkError), turns.at("a"):
            with pytest.raises(SinkBusy), turns.at("a"):
                pass
            raise SinkError("still not")
    with turns.at("a"):
        pass
    with turns.at("a"), turns.at("a"):
        pass


def test_who_is_turned_away_leaves_the_one_at_work_its_turn() -> None:
    turns = Turns(Clock())
    fail(turns, "a")
    with turns.at("a"):
        for _ in range(2):
            with pytest.raises(SinkBusy), turns.at("a"):
                pass

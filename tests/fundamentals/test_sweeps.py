"""The manual, part three: what following many runs costs, and how soon the end of each is seen.

A list of the fake provider holds a tenth or less of what one may hold (300), so that as small a part of the
runs makes as many calls as all of them would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import pytest

from paceline.model import EndpointClass, Rate
from paceline.steps.context import Account
from tests.support.fake_provider import FakeProvider
from tests.support.world import World

MANY = 300


@dataclass(frozen=True, slots=True)
class Followed:
    """Status requests as if lists held 300, per run; median and most of the seconds from an end to its question."""

    requests: float
    found_p50_s: float
    found_most_s: float


def _follow(runs: int, list_size: int, starts: int, *, call_s: float = 0.0) -> Followed:
    """Follow so many runs of 1 to 10 minutes, `starts` begun a second, to the end; a list call takes `call_s`."""
    world = World()
    provider: FakeProvider = world.provider
    provider.capabilities = replace(provider.capabilities, asks_after_many=list_size)
    rates = {**provider.rates, EndpointClass.ADD: Rate(starts, 1.0)}
    world.context.accounts["fake"] = Account("fake", provider, rates)  # type: ignore[index]  # the world's own dict
    starting = provider.start

    def start(external_id: str, names: tuple[str, ...] = ()) -> object:
        run = starting(external_id, names)
        share = len(provider.runs) * 0.618034 % 1  # spread evenly, in no order
        run.ends_s = run.started_s + 60 + 540 * share
        return run

    provider.on_read = lambda _what: world._tick(call_s)
    provider.start = start  # type: ignore[method-assign,assignment]  # the fake is ours to bend
    batch = world.plan(runs, files=1)
    world.run()
    assert world.states(batch) == {"exported": runs}
    ends = {run.external_id: run.ends_s for run in provider.runs.values()}
    delays = [(item.finished_ms or 0) / 1000 - ends[item.external_id] for item in world.views.submissions(batch)]
    calls = sum(what == "ask" for what, _ in provider.reads)
    return Followed(calls / runs * list_size / MANY, median(delays), max(delays))


def test_a_thousand_runs_are_swept_every_five_seconds() -> None:
    followed = _follow(runs=100, list_size=30, starts=10)
    assert followed.found_p50_s <= 2.7
    assert followed.found_most_s <= 8
    assert followed.requests <= 0.35


def test_calls_that_take_their_time_make_no_run_miss_a_sweep() -> None:
    followed = _follow(runs=100, list_size=30, starts=10, call_s=0.6)
    assert followed.found_p50_s <= 2.7
    assert followed.found_most_s <= 6


def test_ten_thousand_runs_cost_less_than_a_tenth_of_a_call_each() -> None:
    followed = _follow(runs=170, list_size=5, starts=2)
    assert followed.requests <= 0.085
    assert followed.found_p50_s <= 8
    assert followed.found_most_s <= 30


@pytest.mark.parametrize("runs", [3, 30])
def test_a_few_runs_are_seen_within_a_few_seconds_of_their_end(runs: int) -> None:
    assert _follow(runs, list_size=MANY, starts=10).found_most_s <= 8

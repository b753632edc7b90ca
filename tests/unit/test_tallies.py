"""What is counted for monitoring agrees with what happened, and with the buckets that the scripts use."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from paceline import redis_keys as keys
from paceline.limiter import parse_hour
from paceline.model import EndpointClass, Outcome, Rate
from paceline.replies import Moved
from paceline.scripts import source
from paceline.steps.context import Waits
from paceline.tallies import BOUNDS_S, Lengths
from tests.support.world import World


def test_the_scripts_have_the_same_buckets() -> None:
    text = files("paceline").joinpath("lua", "ledger.lua").read_text("utf-8")
    found = re.search(r"BOUNDS = \{(.*?)\}", text)
    assert found is not None
    assert tuple(float(bound) for bound in found[1].split(",")) == BOUNDS_S


def test_an_accounts_tallies_are_those_of_its_batches() -> None:
    world = World()
    world.provider.outcome = lambda external: Outcome.FAILED if int(external[-6:]) % 4 == 0 else Outcome.SUCCEEDED
    first, second = world.plan(8, name="first"), world.plan(4, name="second")
    world.run()
    views = [world.views.batch(first), world.views.batch(second)]

    tallies = world.views.tallies("fake")

    assert tallies.ended[Outcome.FAILED] == sum(view.outcomes[Outcome.FAILED] for view in views) == 3
    assert tallies.verbs["accepted"] == tallies.verbs["exported"] == 12
    assert tallies.runs.total == sum(view.runs.total for view in views) == tallies.exports.total == 12
    assert views[0].mean_run_s == pytest.approx(views[0].runs.mean_s)
    assert tallies.credits == pytest.approx(sum(view.credits or 0 for view in views))


def test_credits_of_a_run_that_is_collected_are_counted_once() -> None:
    world = World(waits=Waits(run_limit_s=600.0))
    world.provider.run_s = 5000.0
    batch = world.plan(1)
    world.run()
    item = next(world.views.submissions(batch))
    assert item.reason == "timed_out"
    for key, name in ((keys.submission(item.id), "credits"), (keys.batch(batch), "credits")):
        world.redis.hset(key, name, "0.5")  # what it had used when it was given up
    world.redis.hset(keys.account("fake"), "t:credits", "0.5")

    world._tick(5000.0)
    moved = world.ledger.collect(item.id, item.generation)
    assert isinstance(moved, Moved)
    world.send([moved.follow] if moved.follow else [])
    world.run()

    credits = world.views.batch(batch).credits
    assert credits == 1.5
    assert world.views.tallies("fake").credits == credits


def test_a_quantile_is_the_bound_of_its_bucket() -> None:
    counts = [0] * (len(BOUNDS_S) + 1)
    counts[2], counts[5], counts[-1] = 8, 1, 1
    lengths = Lengths(tuple(counts), 100.0)
    assert [lengths.quantile_s(share) for share in (0.5, 0.9, 1.0)] == [2.0, 20.0, float("inf")]
    assert Lengths().quantile_s(0.5) is None


def test_permits_are_remembered_by_the_minute_for_an_hour() -> None:
    world = World()
    limiter = world.context.limiter
    for _ in range(3):
        assert limiter.take("fake", EndpointClass.GET, Rate(100, 60)) == 0
    minute = int(world.clock) // 60
    assert world.redis.hget(keys.pace_state("fake", EndpointClass.GET), f"m:{minute}") == b"3"

    world._tick(3 * 3600)
    limiter.take("fake", EndpointClass.GET, Rate(100, 60))

    fields = [name for name in world.redis.hkeys("pl:a:fake:pace:get:state") if name.startswith(b"m:")]
    assert fields == [b"m:%d" % (int(world.clock) // 60)]


def test_the_last_hour_ends_with_the_minute_under_way() -> None:
    now_ms = 1_795_000_000_000
    hour = parse_hour({b"m:%d" % (now_ms // 60_000 - 2): b"7", b"m:%d" % (now_ms // 60_000 - 60): b"9"}, now_ms)
    assert (len(hour), hour[-3], sum(hour)) == (60, 7, 7)


def test_every_script_that_counts_is_the_same_text_for_every_clock() -> None:
    assert "tally" in source("finish")
    assert "count_minute" in source("begin", "key")

"""The pace on a real server: races, clock jumps, restarts, refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paceline.limiter import Limiter, PacePolicy
from paceline.model import EndpointClass, Rate
from paceline.scripts import Scripts
from tests.support.world import World

ADD = EndpointClass.ADD


def test_racing_takers_get_the_limit_and_not_one_more(real_redis: Any) -> None:
    limiter = Limiter(real_redis, Scripts(real_redis), PacePolicy(durable=True))
    rate = Rate(40, 60.0)
    granted: list[float] = []
    barrier = threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        granted.extend(1.0 for _ in range(40) if limiter.take("a", ADD, rate) == 0)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 40


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 6)), min_size=5, max_size=40), limit=st.integers(1, 9))
def test_no_window_ever_holds_more_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    world = World()
    rate = Rate(limit, 4.0)
    window_s = world.context.limiter.policy.window_ms(rate) / 1000
    grants: list[float] = []
    for pause, tries in steps:
        world._tick(pause)
        now = int(world.redis.get("pl:test:clock")) / 1000
        for _ in range(tries):
            recent = [at for at in grants if at > now - window_s]
            wait_s = world.context.limiter.take("fake", ADD, rate)
            if len(recent) < limit:
                assert wait_s == 0
                grants.append(now)
            else:
                assert abs(wait_s - (sorted(recent)[-limit] + window_s - now)) < 0.01


def test_a_clock_set_back_waits_one_window_and_no_longer() -> None:
    world = World()
    rate = Rate(5, 60.0)
    assert world.context.limiter.take("fake", ADD, rate) == 0
    world._tick(-3600)
    wait_s = world.context.limiter.take("fake", ADD, rate)
    assert 60 <= wait_s <= 62
    world._tick(wait_s + 0.01)
    assert world.context.limiter.take("fake", ADD, rate) == 0


class JumpyPolicy(PacePolicy):
    """A policy whose machine's own clock the test moves apart from Redis time."""

    mono_ms = 1_000_000

    def args(self, rate: Rate) -> list[Any]:
        limit, window, durable, _, _ = super().args(rate)
        return [limit, window, durable, "boot-1", type(self).mono_ms]


def test_a_clock_set_forward_is_noticed_and_waits_one_window() -> None:
    world = World()
    limiter = Limiter(world.redis, Scripts(world.redis, clock="key"), JumpyPolicy(durable=True))
    rate = Rate(2, 60.0)
    assert limiter.take("fake", ADD, rate) == 0
    assert limiter.take("fake", ADD, rate) == 0
    world._tick(3600)  # the wall clock jumps; the machine's own clock says that a second has passed
    JumpyPolicy.mono_ms += 1000
    assert limiter.take("fake", ADD, rate) == 0.05  # seen once, it may be a slow call
    world._tick(0.05)
    JumpyPolicy.mono_ms += 50
    assert 60 <= limiter.take("fake", ADD, rate) <= 62


def test_one_slow_call_is_not_taken_for_a_jump() -> None:
    world = World()
    limiter = Limiter(world.redis, Scripts(world.redis, clock="key"), JumpyPolicy(durable=True))
    rate = Rate(5, 60.0)
    assert limiter.take("fake", ADD, rate) == 0
    world._tick(1.5)  # between reading this machine's clock and the script
    assert limiter.take("fake", ADD, rate) == 0.05
    JumpyPolicy.mono_ms += 1500
    assert limiter.take("fake", ADD, rate) == 0


def test_time_that_really_passed_is_not_taken_for_a_jump() -> None:
    world = World()
    limiter = Limiter(world.redis, Scripts(world.redis, clock="key"), JumpyPolicy(durable=True))
    rate = Rate(2, 60.0)
    assert limiter.take("fake", ADD, rate) == 0
    world._tick(3600)
    JumpyPolicy.mono_ms += 3_600_000
    assert limiter.take("fake", ADD, rate) == 0


def test_a_restart_that_may_have_lost_permits_waits_one_window(real_redis: Any) -> None:
    limiter = Limiter(real_redis, Scripts(real_redis), PacePolicy(durable=False))
    rate = Rate(2, 7200.0)  # longer than the server of these tests has been up
    assert limiter.take("a", ADD, rate) == 0
    real_redis.hset("pl:a:a:pace:add:state", "server", "another-life")
    assert 0 < limiter.take("a", ADD, rate) <= 7202
    kept = Limiter(real_redis, Scripts(real_redis), PacePolicy(durable=True))
    real_redis.hset("pl:a:b:pace:add:state", mapping={"server": "another-life"})
    real_redis.pexpire("pl:a:b:pace:add:state", 1000)
    assert kept.take("b", ADD, rate) == 0


def test_retry_after_closes_the_class_for_everybody_and_only_that_class() -> None:
    world = World()
    limiter = world.context.limiter
    rate = Rate(10, 60.0)
    assert limiter.close("fake", ADD, rate, seconds=30.0, why="throttled") == 30.0
    assert limiter.take("fake", ADD, rate) == 30.0
    assert limiter.take("fake", EndpointClass.LIST, rate) == 0
    assert limiter.take("other", ADD, rate) == 0
    world._tick(30.001)
    assert limiter.take("fake", ADD, rate) == 0


def test_without_retry_after_refusals_back_off_and_a_burst_of_them_counts_once() -> None:
    world = World()
    limiter = world.context.limiter
    rate = Rate(10, 60.0)
    stays = []
    for _ in range(4):
        for _ in range(5):  # a burst that was under way together
            stay = limiter.close("fake", ADD, rate, seconds=None, why="throttled")
        stays.append(stay)
        world._tick(stay + 0.001)
    assert [round(stay) for stay in stays] == [1, 2, 4, 8]


def test_the_limit_learned_from_a_refusal_recovers_slowly() -> None:
    world = World()
    limiter = world.context.limiter
    rate = Rate(40, 60.0)
    for _ in range(20):
        assert limiter.take("fake", ADD, rate) == 0
    limiter.close("fake", ADD, rate, seconds=1.0, why="throttled")
    assert limiter.view("fake", ADD, rate).learned == 20
    for _ in range(30):
        world._tick(61.2)
        limiter.take("fake", ADD, rate)
    assert limiter.view("fake", ADD, rate).learned is None


def test_absurd_wishes_of_the_provider_are_bounded() -> None:
    world = World()
    limiter = world.context.limiter
    rate = Rate(10, 60.0)
    assert limiter.close("fake", ADD, rate, seconds=1e9, why="throttled") == 3600
    assert limiter.close("other", ADD, rate, seconds=-1.0, why="throttled") == 1  # a wish for "at once" is no wish


TAKE = """
import sys, redis
from paceline.limiter import Limiter, PacePolicy
from paceline.model import EndpointClass, Rate
from paceline.scripts import Scripts
client = redis.Redis(unix_socket_path=sys.argv[1])
print(Limiter(client, Scripts(client), PacePolicy(durable=True)).take("a", EndpointClass.ADD, Rate(9, 60.0)))
"""


def test_hosts_whose_boot_clocks_are_days_apart_share_a_pace(real_redis: Any, server: Path) -> None:
    apart = ["unshare", "--time", "--boottime=864000", "--fork", "--"]
    try:
        subprocess.run([*apart, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no time namespaces can be made here")
    limiter = Limiter(real_redis, Scripts(real_redis), PacePolicy(durable=True))
    for _ in range(2):
        assert limiter.take("a", ADD, Rate(9, 60.0)) == 0
        other = subprocess.run(
            [*apart, sys.executable, "-c", TAKE, str(server)], check=True, capture_output=True, text=True
        )
        assert float(other.stdout) == 0

"""A hint moves the next question about a run forward, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from paceline import redis_keys as keys
from paceline.hints import BARE_MOST, SILENCE_S, Hinted, Hints, RunHint
from paceline.model import Follow, Step, external_id, submission_id
from paceline.scripts import Scripts
from paceline.steps.context import Waits
from tests.support.world import World

DUE, GAP = keys.due("fake", "7"), keys.gap("fake", "7")
FAR_S = 200.0


class Scene:
    """A world whose runs are in flight and due only after a long time."""

    def __init__(self, redis: Any, submissions: int = 3) -> None:
        self.world = World(redis, waits=Waits(first_poll_s=FAR_S))
        self.world.provider.run_s = 20.0
        self.batch = self.world.plan(submissions)
        self.world.run(until=lambda: self.world.states(self.batch) == {"running": submissions})
        self.hints = Hints(redis, Scripts(redis, "key"), self.world.ledger.place)
        self.redis = redis
        self.pass_(5.0)

    def pass_(self, seconds: float) -> None:
        self.world._tick(seconds)

    def submission(self, index: int) -> str:
        return submission_id(self.batch, index)

    def hint(self, index: int, **changes: Any) -> RunHint:
        id_ = self.submission(index)
        run_id = self.world.views.submission(id_).run_id or ""
        return RunHint(**({"run_id": run_id, "agent": "7", "external_id": external_id(id_)} | changes))

    def ended(self, *hints: RunHint) -> Hinted:
        hinted = self.hints.ended("fake", hints)
        self.world.send(hinted.follows)
        return hinted

    def due_in_s(self, index: int) -> float:
        return float(self.redis.zscore(DUE, self.submission(index)) / 1000 - self.world.clock)

    def until_asked(self, times: int) -> None:
        self.world.run(until=lambda: self.asked == times)

    @property
    def asked(self) -> int:
        return sum(what == "ask" for what, _ in self.world.provider.reads)


@pytest.fixture
def scene(real_redis: Any) -> Scene:
    return Scene(real_redis)


def test_a_run_that_is_hinted_at_is_asked_after_now_and_the_others_when_they_are_due(scene: Scene) -> None:
    scene.pass_(30.0)
    hinted = scene.ended(scene.hint(2))
    assert (hinted.about, hinted.earlier) == (1, 1)
    assert hinted.follows == (Follow(Step.POLL, "fake:7", 0.0),)
    scene.until_asked(1)
    assert scene.world.provider.reads[-1] == ("ask", 1)
    assert scene.world.views.submission(scene.submission(2)).state != "running"
    assert scene.due_in_s(1) > 100
    assert scene.world.states(scene.batch)["running"] == 2


def test_a_hint_about_a_run_that_goes_on_ends_nothing(scene: Scene) -> None:
    scene.ended(scene.hint(1))
    scene.until_asked(1)
    assert scene.world.views.submission(scene.submission(1)).state == "running"


@pytest.mark.parametrize("copies", [1, 10])
def test_a_hint_that_comes_often_asks_once(scene: Scene, copies: int) -> None:
    scene.ended(scene.hint(1))
    scene.until_asked(1)
    due_in_s = scene.due_in_s(1)
    for _ in range(copies):
        hinted = scene.ended(scene.hint(1), scene.hint(1, external_id=None))
        assert hinted == Hinted(about=2)
    assert scene.due_in_s(1) == due_in_s > 4

    scene.redis.zadd(DUE, {scene.submission(1): (scene.world.clock + 100) * 1000})
    scene.pass_(SILENCE_S)
    hinted = scene.ended(scene.hint(1), scene.hint(1))
    assert (hinted.about, hinted.earlier) == (2, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "12345"},
        {"agent": "8"},
        {"external_id": "somebody.else"},
        {"external_id": "b000000000.b000000000-000001"},
        {"external_id": "*"},
        {"run_id": "12345", "external_id": None},
        {"run_id": "", "external_id": None},
        {"agent": "8", "external_id": None},
    ],
    ids=str,
)
def test_a_run_that_is_not_in_flight_changes_nothing(scene: Scene, changes: dict[str, Any]) -> None:
    before = scene.redis.zrange(DUE, 0, -1, withscores=True)
    assert scene.ended(scene.hint(1, **changes)) == Hinted()
    assert scene.redis.zrange(DUE, 0, -1, withscores=True) == before
    assert not scene.redis.exists(keys.hinted("fake", "7"))


def test_one_submissions_id_with_anothers_run_changes_nothing(scene: Scene) -> None:
    assert scene.ended(scene.hint(1, run_id=scene.hint(2).run_id)) == Hinted()


def test_another_accounts_hint_changes_nothing(scene: Scene) -> None:
    assert scene.hints.ended("other", [scene.hint(1), scene.hint(1, external_id=None)]) == Hinted()


def test_a_run_without_external_id_is_looked_for(scene: Scene) -> None:
    assert scene.ended(scene.hint(3, external_id=None, agent=None)).earlier == 1
    assert scene.due_in_s(3) == pytest.approx(0.0)


def test_no_run_is_due_within_a_second_of_its_start(real_redis: Any) -> None:
    scene = Scene(real_redis, submissions=1)
    started = int(scene.redis.hget(keys.runs("fake", "7"), scene.submission(1)).split(b"\n")[2])
    scene.world.clock = started / 1000 + 0.2
    scene.pass_(0)
    (follow,) = scene.ended(scene.hint(1)).follows
    assert follow.countdown_s == pytest.approx(0.8)
    assert scene.due_in_s(1) == pytest.approx(0.8)


def test_the_next_list_call_comes_no_sooner_than_it_may(scene: Scene) -> None:
    scene.redis.set(GAP, round((scene.world.clock + 3.0) * 1000), px=60_000)
    (follow,) = scene.ended(scene.hint(1)).follows
    assert follow.countdown_s == pytest.approx(3.0, abs=0.01)
    before = scene.world.clock
    scene.until_asked(1)
    assert scene.world.clock - before == pytest.approx(3.0, abs=0.01)


def test_hints_that_come_one_after_the_other_share_their_questions(scene: Scene) -> None:
    assert scene.hints.ended("fake", [scene.hint(1)]).follows[0].countdown_s == 0.0
    assert scene.world.runner.run(Step.POLL, "fake:7")  # the first question; what it sets is out of the way
    scene.redis.delete(GAP)
    countdowns = []
    for index in (2, 3):
        scene.pass_(0.1)
        scene.redis.zrem(keys.CHAINS, "poll:fake:7")
        countdowns += [follow.countdown_s for follow in scene.hints.ended("fake", [scene.hint(index)]).follows]
    assert countdowns == [pytest.approx(0.9), pytest.approx(1.8)]


def test_a_run_that_is_due_anyway_is_not_put_off(scene: Scene) -> None:
    scene.redis.zadd(DUE, {scene.submission(1): scene.world.clock * 1000 - 5000})
    assert scene.ended(scene.hint(1)).earlier == 0
    assert scene.due_in_s(1) == pytest.approx(-5.0)


def test_a_bare_hint_is_about_every_run_and_counts_once_in_a_while(scene: Scene) -> None:
    assert scene.hints.something("fake", "7").earlier == 3
    assert scene.hints.something("fake", "7") == Hinted()
    scene.pass_(SILENCE_S)
    assert scene.hints.something("fake", "7").about == 3


def test_a_bare_hint_costs_no_more_than_one_list_call(real_redis: Any) -> None:
    scene = Scene(real_redis, submissions=1)
    packed = scene.redis.hget(keys.runs("fake", "7"), scene.submission(1))
    for index in range(2, BARE_MOST + 50):
        scene.redis.hset(keys.runs("fake", "7"), scene.submission(index), packed)
        scene.redis.zadd(DUE, {scene.submission(index): (scene.world.clock + 1000 - index) * 1000})
    assert scene.hints.something("fake", "7") == Hinted(BARE_MOST, BARE_MOST, (Follow(Step.POLL, "fake:7", 0.0),))


def test_agents_with_runs_in_flight_are_known_by_name(scene: Scene) -> None:
    assert scene.hints.agents("fake") == ["7"]
    assert scene.hints.agents("fak") == []
    scene.world.run()
    assert scene.world.states(scene.batch) == {"exported": 3}
    assert scene.hints.agents("fake") == []
    assert scene.hints.something("fake", "7") == Hinted()


def test_a_lost_wake_up_costs_only_time(scene: Scene) -> None:
    scene.pass_(30.0)
    scene.hints.ended("fake", [scene.hint(1)])  # its message is lost
    before = scene.world.clock
    scene.world.run(until=lambda: scene.world.views.submission(scene.submission(1)).state == "exported")
    assert scene.world.clock - before < FAR_S / 4


def test_a_clock_that_was_set_back_does_not_silence_hints(scene: Scene) -> None:
    scene.pass_(30.0)
    assert scene.ended(scene.hint(1)).earlier == 1
    scene.pass_(-20.0)
    scene.redis.zadd(DUE, {scene.submission(1): (scene.world.clock + 100) * 1000})
    assert scene.ended(scene.hint(1)).earlier == 1

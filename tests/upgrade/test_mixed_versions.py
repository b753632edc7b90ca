"""Workers of the released version beside those of this one, on one ledger: crashes at any effect of either."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from config.embedded import EmbeddedServer
from paceline.errors import Ambiguous, Unavailable
from paceline.model import EndpointClass, Follow, Rate, State, Step, external_id, submission_id
from paceline.providers.base import SubmitRequest
from paceline.replies import Moved
from paceline.sinks.base import Part
from tests.support import schedules
from tests.support.fake_provider import RATES
from tests.support.quick_redis import QuickRedis
from tests.support.schedules import SCENARIOS, Scenario, Trial, crash_pairs, singles, some
from tests.support.seam import Crash
from tests.upgrade.mixed import MODULES, MixedWorld
from tests.upgrade.released import Released, load, unpack

SEED = 20_270_615
SUBMISSIONS = 20


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    """Load the released version."""
    return load(unpack(tmp_path_factory.mktemp("released")), MODULES)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give a server that writes nothing down."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        client = QuickRedis(server.socket_path)
        client.config_set("appendonly", "no")
        yield client
        client.hang_up()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_two_versions_on_one_ledger_pay_once_whatever_dies(
    quick: Any, released: Released, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "World", MixedWorld)
    monkeypatch.setattr(MixedWorld, "released", released, raising=False)
    share = 3 if scenario.isolates else 1
    chosen = itertools.chain([{}] * 4, some(singles(60), 20 // share, SEED), some(crash_pairs(60), 6 // share, SEED))
    found, counts = [], {"new": 0, "old": 0}
    for number, schedule in enumerate(chosen):
        monkeypatch.setattr(MixedWorld, "seed", SEED + number)
        trial = Trial(quick, scenario, schedule)
        found += [f"{number} {schedule}: {problem}" for problem in trial.run()]
        for version in counts:
            counts[version] += trial.world.counts[version]  # type: ignore[attr-defined]  # it is a MixedWorld
    assert found == []
    assert min(counts.values()) > 0.3 * sum(counts.values())


def no_list(what: str) -> None:
    """Answer no question for runs by their external ids: what is uncertain stays so."""
    if what == "find":
        raise Unavailable("no list now")


def halfway(released: Released) -> tuple[MixedWorld, str]:
    """Let the released code plan and carry a batch until a submission stands in each state; nothing is under way."""
    world = MixedWorld()
    world.leave_to("old")
    provider, sink = world.provider, world.sink
    provider.run_s = 60.0
    provider.rates = {**RATES, EndpointClass.ADD: Rate(1, 5.0)}
    world.restart()
    batch = world.old.plan(SUBMISSIONS)
    world.send([Follow(Step.FEED, "fake")])
    item = partial(submission_id, batch)

    def on_submit(request: SubmitRequest) -> None:
        if request.external_id.endswith(item(6)):
            raise Crash("in mid-upload")

    def after_accept(request: SubmitRequest) -> None:
        if request.external_id.endswith((item(4), item(5))):
            raise Ambiguous("the connection broke")

    def on_write(part: Part) -> None:
        if part.submission == item(2):
            raise released["paceline.errors"].SinkError("the disk is full")

    provider.on_submit, provider.after_accept, sink.on_write = on_submit, after_accept, on_write
    provider.on_read = no_list

    def state(number: int) -> State:
        return world.views.submission(item(number)).state

    world.run(until=lambda: state(2) is State.FINISHED and state(6) is State.SUBMITTING, seconds=300.0)
    world.old.ledger.hold(item(5), world.views.submission(item(5)).generation, reason="no_proof")
    return world, batch


def test_this_version_finishes_what_the_released_one_left(released: Released, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MixedWorld, "released", released, raising=False)
    world, batch = halfway(released)
    states = {item.state for item in world.views.submissions(batch)}
    assert states >= {State.PLANNED, State.SUBMITTING, State.UNCERTAIN, State.FINISHED, State.HELD}, states
    assert len(world.provider.runs) < SUBMISSIONS
    before = dict(world.provider.runs)

    world.leave_to("new")
    world.lose_messages()
    world.provider.on_submit = world.provider.after_accept = world.provider.on_read = world.sink.on_write = None
    world.run(20_000.0)
    held = world.views.submission(submission_id(batch, 5))
    assert held.state is State.HELD
    (view,) = world.provider.find("7", [held.external_id])
    moved = world.ledger.accepted(held.id, view, attempt=None, first_poll_s=0.0)
    assert isinstance(moved, Moved)
    world.send(moved.follows)
    world.run(20_000.0)

    assert world.states(batch) == {"exported": SUBMISSIONS}
    assert Counter(run.external_id for run in world.provider.runs.values()) == {
        external_id(submission_id(batch, index)): 1 for index in range(1, SUBMISSIONS + 1)
    }
    assert before.keys() <= world.provider.runs.keys()
    assert sorted(world.sink.parts) == [submission_id(batch, index) for index in range(1, SUBMISSIONS + 1)]
    assert world.views.batch(batch).closed

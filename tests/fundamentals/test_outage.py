"""The manual, part ten: a provider that is down is waited for, one question at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from paceline.circuit import AGAIN_S, Standing
from paceline.errors import Ambiguous, NotSent, Refused, Unavailable, Unreachable
from paceline.model import EndpointClass, RunView, State, submission_id
from paceline.providers.base import SubmitRequest
from paceline.replies import Begun, Wait
from paceline.steps.context import Waits
from tests.support.fake_provider import CAPABILITIES
from tests.support.world import World


def down(world: World, *, sends: bool = True, reads: bool = True) -> list[str]:
    """Let nothing through; the list returned is filled with what was tried."""
    tried: list[str] = []

    def submit(_request: SubmitRequest) -> None:
        tried.append("submit")
        if sends:
            raise NotSent("no connection to the provider (ConnectError)")

    def read(what: str) -> None:
        tried.append(what)
        if reads:
            raise Unreachable("the provider can't be reached (ConnectError)")

    world.provider.on_submit, world.provider.on_read = submit, read
    return tried


def up(world: World) -> None:
    world.provider.on_submit = world.provider.on_read = None


def test_nothing_burns_while_a_provider_is_down_and_it_resumes_by_itself() -> None:
    world = World()
    batch = world.plan(200)
    tried = down(world)
    world.run(1800)
    assert world.states(batch) == {"planned": 200}
    assert all(item.attempt == 0 for item in world.views.submissions(batch))
    assert tried.count("submit") <= 8
    assert len(tried) < 60, "a question a minute, once the waits have grown"
    up(world)
    world.run(200)
    assert len(world.provider.runs) >= 80
    world.run()
    assert world.states(batch) == {"exported": 200}


def test_while_it_is_down_questions_come_one_at_a_time() -> None:
    world = World()
    world.plan(50, name="one")
    world.plan(50, name="other")
    tried = down(world)
    world.run(60)
    before = len(tried)
    world.run(300)
    assert len(tried) - before <= 7


def test_a_provider_that_answers_questions_only_is_not_flooded() -> None:
    world = World()
    world.plan(100)
    tried = down(world, reads=False)
    world.run(600)
    assert tried.count("submit") <= 20


def test_one_submission_tries_before_the_others_go_on() -> None:
    world = World()
    world.lose_messages()
    batch = world.plan(3)
    rates, circuit = world.provider.rates, world.context.circuit
    circuit.failed("fake", "gone", surely=True)
    circuit.answered("fake")
    released = world.ledger.release("fake", rates, window=64, lease_s=30.0).submissions
    assert len(released) == 1

    def begin(index: int) -> object:
        item = world.views.submission(submission_id(batch, index))
        rate = rates[EndpointClass.ADD]
        return world.ledger.begin(item.id, item.generation, rate=rate, worker="w", lease_s=90.0, token=f"t{index}")

    first = begin(1)
    assert isinstance(first, Begun)
    assert isinstance(begin(2), Wait)
    world.ledger.put_back(submission_id(batch, 1), first.generation, reason="permit_expired", unused=True)
    second = begin(2)
    assert isinstance(second, Begun), "the first said nothing about the provider"
    assert isinstance(begin(3), Wait)
    world.ledger.accepted(submission_id(batch, 2), RunView("1", None, "", None), attempt=1, first_poll_s=1.0)
    assert isinstance(begin(3), Begun)


def test_answers_that_say_nothing_open_it_too() -> None:
    world = World(waits=Waits(settle_s=10))

    def broken(_request: SubmitRequest) -> None:
        raise Ambiguous("the provider's answer leaves the outcome open (503)", http_status=503)

    world.provider.on_submit = broken
    batch = world.plan(100)
    world.run(120)
    assert len(world.provider.arrivals) <= 12, "not a full window of doubts"
    world.provider.on_submit = None
    world.run()
    assert world.states(batch) == {"exported": 100}
    assert len(world.provider.runs) == 100


def test_runs_are_not_asked_after_while_it_is_down() -> None:
    world = World()
    batch = world.plan(10)
    world.run(3)
    tried = down(world)
    world.run(600)
    assert len(tried) <= 20
    up(world)
    world.run()
    assert world.states(batch) == {"exported": 10}


def test_a_refusal_shows_that_the_provider_is_there() -> None:
    world = World()
    batch = world.plan(20)
    down(world)
    world.run(30)

    def refuse(_request: SubmitRequest) -> None:
        raise Refused("the provider refuses the submission (422)", http_status=422)

    up(world)
    world.provider.on_submit = refuse
    world.run(200)
    assert world.states(batch) == {"exported": 20}
    assert world.views.batch(batch).reasons == {"rejected": 20}


def test_another_account_keeps_its_pace() -> None:
    world = World()
    item = world.plan(40)
    world.context.circuit.failed("somebody_else", "gone", surely=True)
    world.run(30)
    assert world.views.batch(item).by_state[State.PLANNED] == 0


def test_a_question_about_one_run_that_always_fails_stops_nobody_else() -> None:
    world = World()
    world.provider.capabilities = replace(CAPABILITIES, asks_after_many=0, finds_many=0)
    ask = world.provider.ask

    def poisoned(agent: str, run_ids: Sequence[str]) -> Mapping[str, RunView]:
        if "1000" in run_ids:
            raise Unavailable("the provider can't answer now (500)", http_status=500)
        return ask(agent, run_ids)

    world.provider.ask = poisoned  # type: ignore[method-assign]
    world.restart()
    batch = world.plan(100)
    world.run(400)
    assert len(world.provider.runs) == 100
    world.run(22_000)
    assert world.views.batch(batch).reasons == {"timed_out": 1}


def test_a_clock_that_was_set_back_does_not_keep_it_open() -> None:
    world = World()
    world.plan(5)
    tried = down(world)
    world.run(300)
    world._tick(-3600)
    before = len(tried)
    world.run(300)  # the pace waits for a window, to be sure
    assert len(tried) > before
    up(world)
    world.run(300)
    assert len(world.provider.runs) == 5


def test_a_question_that_nobody_asks_is_left_to_others() -> None:
    world = World()
    world.lose_messages()
    circuit = world.context.circuit
    circuit.failed("fake", "gone", surely=True)
    world._tick(2)
    assert circuit.look("fake") == circuit.look("fake") == Standing(open=True)
    assert circuit.claim("fake") == 0
    assert circuit.claim("fake") > 0


def test_whoever_waits_for_a_question_that_somebody_asks_comes_again_soon() -> None:
    world = World()
    circuit = world.context.circuit
    circuit.failed("fake", "gone", surely=True)
    world._tick(1.0)
    assert circuit.claim("fake") == 0

    assert 0 < circuit.look("fake").wait_s <= AGAIN_S
    assert 0 < circuit.claim("fake") <= AGAIN_S

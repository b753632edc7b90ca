"""The manual, part three: after an unclear POST, the provider is asked before anything is sent again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from paceline.errors import Ambiguous, FileChanged, Unavailable
from paceline.model import ErrorNote, submission_id
from paceline.replies import Moved
from tests.support.fake_provider import CAPABILITIES, fail_with, lost_answer
from tests.support.world import World


def accepted(world: World) -> Counter[str]:
    return Counter(run.external_id for run in world.provider.runs.values())


def test_a_sender_that_dies_after_the_intent_leaves_a_doubt_not_a_second_run() -> None:
    world = World()

    class Killed(BaseException):
        pass

    def die(_request: object) -> None:
        raise Killed

    world.provider.after_accept = die
    batch = world.plan(1)
    try:
        world.run()
    except Killed:
        world.provider.after_accept = None
    assert world.states(batch) == {"submitting": 1}
    world.run()
    assert world.states(batch) == {"exported": 1}
    assert set(accepted(world).values()) == {1}


def test_a_list_that_is_wrongly_empty_once_proves_nothing() -> None:
    world = World()
    batch = world.plan(2)
    world.run()
    world.provider.after_accept = lost_answer
    other = world.plan(1, name="other")
    real = world.provider.find
    empty = [3]

    def find(agent: str, external_ids: object) -> object:
        if empty[0] > 0:
            empty[0] -= 1
            return []
        return real(agent, external_ids)  # type: ignore[arg-type]  # passed through

    world.provider.find = find  # type: ignore[method-assign,assignment]  # a provider that lies
    world.run()
    assert world.states(other) == {"exported": 1}
    assert set(accepted(world).values()) == {1}
    assert world.states(batch) == {"exported": 2}


def test_one_empty_list_proves_nothing_even_past_the_settling_time_and_with_nothing_to_compare() -> None:
    world = World()
    world.provider.after_accept = lost_answer
    real = world.provider.find
    late: list[float] = []

    def find(agent: str, external_ids: object) -> object:
        if world.clock - world.provider.arrivals[0][0] >= world.waits.settle_s:
            late.append(world.clock)
        return real(agent, external_ids) if len(late) > 1 else []  # type: ignore[arg-type]  # passed through

    world.provider.find = find  # type: ignore[method-assign,assignment]  # a provider that lags and lies
    batch = world.plan(1)
    world.run()
    assert len(late) > 1
    assert world.states(batch) == {"exported": 1}
    assert len(world.provider.arrivals) == 1


def test_a_run_that_shows_up_late_is_found_before_anything_is_sent_again() -> None:
    world = World()
    world.provider.after_accept = lost_answer
    batch = world.plan(3)
    world.run(until=lambda: len(world.provider.runs) == 3)
    world.provider.hidden = set(world.provider.runs)
    started = world.clock
    world.run(until=lambda: world.clock - started > world.context.waits.settle_s * 0.8)
    world.provider.hidden = set()
    world.run()
    assert world.states(batch) == {"exported": 3}
    assert set(accepted(world).values()) == {1}


def test_evidence_that_comes_after_proven_absence_is_adopted_not_paid_again() -> None:
    world = World()
    world.provider.on_submit = fail_with(Ambiguous("timed out"), times=1)
    batch = world.plan(1)
    item = submission_id(batch, 1)
    world.run(until=lambda: world.states(batch) == {"uncertain": 1})
    world.ledger.resume("fake")
    world.drop = lambda follow: follow.step.value == "submit"  # absence gets proven, but nobody sends yet
    world.run(300)
    assert world.states(batch) == {"planned": 1}
    late = world.provider.start(world.views.submission(item).external_id)
    world.ledger.accepted(item, world.provider._view(late), attempt=1, first_poll_s=1.5)
    world.drop = lambda _follow: False
    world.run()
    assert world.states(batch) == {"exported": 1}
    assert set(accepted(world).values()) == {1}


def test_without_any_proof_within_an_hour_a_person_decides() -> None:
    world = World()
    world.provider.on_submit = fail_with(Ambiguous("timed out"), times=1)
    batch = world.plan(2)

    def down(what: str) -> None:
        if what == "find":
            raise Unavailable("lists are broken")

    world.provider.on_read = down
    world.run(5000)
    assert world.states(batch) == {"held": 1, "exported": 1}
    assert len(world.provider.arrivals) == 2


def test_a_provider_that_cannot_be_asked_is_never_asked_twice() -> None:
    world = World()
    world.provider.capabilities = replace(CAPABILITIES, asks_after_many=0, finds_many=0, cancels=False)
    world.provider.after_accept = lost_answer
    batch = world.plan(2)
    world.run(5000)
    assert world.states(batch) == {"held": 2}
    assert len(world.provider.arrivals) == 2


def test_a_file_that_changed_after_a_first_attempt_is_held_not_sent_with_new_content() -> None:
    world = World()
    world.provider.on_submit = fail_with(Ambiguous("timed out"), times=1)
    batch = world.plan(1)
    world.run(until=lambda: world.states(batch) == {"uncertain": 1})

    def changed(file: object) -> None:
        raise FileChanged("other size", path="1/0.txt")

    world.root.problem = changed
    world.run(1000)
    assert world.states(batch) == {"held": 1}
    assert len(world.provider.arrivals) == 1


def test_a_permit_too_old_at_the_first_byte_is_handed_back_and_costs_no_attempt() -> None:
    world = World()
    real = world.provider.submit
    slow = [True]

    def submit(request: object) -> object:
        if slow[0]:
            slow[0] = False
            world._tick(5.0)  # the process was stopped between the permit and the first byte
        return real(request)  # type: ignore[arg-type]  # passed through

    world.provider.submit = submit  # type: ignore[method-assign,assignment]  # a slow machine
    batch = world.plan(1)
    world.run()
    assert world.states(batch) == {"exported": 1}
    assert len(world.provider.arrivals) == 1
    assert world.views.submission(submission_id(batch, 1)).attempt == 1
    assert [row["reason"] for row in world.views.journal(batch) if row["verb"] == "put_back"] == ["permit_expired"]


def held(world: World) -> str:
    """Return a submission that is held because nobody could be asked."""
    world.provider.on_submit = fail_with(Ambiguous("timed out"), times=1)
    batch = world.plan(1)

    def down(what: str) -> None:
        if what == "find":
            raise Unavailable("lists are broken")

    world.provider.on_read = down
    world.run(5000)
    assert world.states(batch) == {"held": 1}
    world.provider.on_read = None
    return submission_id(batch, 1)


def test_a_person_may_say_which_run_it_is() -> None:
    world = World()
    item = held(world)
    run = world.provider.start(world.views.submission(item).external_id)
    moved = world.ledger.accepted(item, world.provider._view(run), attempt=None, first_poll_s=0.0)
    assert isinstance(moved, Moved)
    world.send([moved.follow] if moved.follow else [])
    world.run()
    assert world.states(world.views.batch_ids()[0]) == {"exported": 1}
    assert len(world.provider.arrivals) == 1


def test_a_person_may_have_it_sent_again() -> None:
    world = World()
    item = held(world)
    moved = world.ledger.resubmit(item, world.views.submission(item).generation, reason="by_hand")
    assert isinstance(moved, Moved)
    world.send([moved.follow] if moved.follow else [])
    world.run()
    assert world.states(world.views.batch_ids()[0]) == {"exported": 1}
    assert world.views.submission(item).attempt == 2


def test_a_person_may_give_it_up() -> None:
    world = World()
    item = held(world)
    note = ErrorNote("request", "submit", "given up")
    moved = world.ledger.give_up(item, world.views.submission(item).generation, reason="given_up", error=note)
    assert isinstance(moved, Moved)
    world.send([moved.follow] if moved.follow else [])
    world.run()
    assert world.views.submission(item).reason == "given_up"
    assert world.views.batch(world.views.batch_ids()[0]).closed

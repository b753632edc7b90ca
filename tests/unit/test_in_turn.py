"""Reading in turn: one after the other from memory, nobody behind anybody's disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pytest

from paceline.errors import FileChanged
from paceline.providers import in_turn, multipart
from paceline.providers.in_turn import PATIENCE, QUICK_S, REST_S, InTurn
from paceline.providers.multipart import Multipart
from tests.unit.test_multipart import held

SOON_S = 10.0
LONG_S = 60.0


@dataclass
class Clock:
    """Stands still until it is moved."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> InTurn:
    """The turns of the process, by the hand-moved clock; nobody gives up waiting."""
    turns = InTurn(clock)
    monkeypatch.setattr(in_turn, "WAIT_S", LONG_S)
    monkeypatch.setattr(multipart, "_READING", turns)
    return turns


@contextmanager
def elsewhere(act: Callable[[], object]) -> Iterator[threading.Event]:
    """Do it in another thread; give the event of its end."""
    done = threading.Event()

    def work() -> None:
        act()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    yield done
    thread.join(SOON_S)
    assert not thread.is_alive()


def enter(turns: InTurn) -> None:
    with turns.turn():
        pass


def assert_nobody_waits(turns: InTurn) -> None:
    with elsewhere(lambda: enter(turns)) as other:
        assert other.wait(SOON_S)


def take_slow(turns: InTurn, clock: Clock, times: int) -> None:
    for _ in range(times):
        with turns.turn():
            clock.now_s += 2 * QUICK_S


def test_one_reads_after_the_other_as_long_as_that_is_quick(turns: InTurn, clock: Clock) -> None:
    take_slow(turns, clock, PATIENCE - 1)
    enter(turns)  # a quick one: they weren't slow in a row
    take_slow(turns, clock, PATIENCE - 1)
    with ExitStack() as stack:
        with turns.turn():
            others = [stack.enter_context(elsewhere(lambda: enter(turns))) for _ in range(3)]
            assert not any(other.wait(0.02) for other in others)
        assert all(other.wait(SOON_S) for other in others)


def test_for_a_disk_everybody_waits_at_once_until_it_may_be_quick_again(turns: InTurn, clock: Clock) -> None:
    take_slow(turns, clock, PATIENCE)
    with turns.turn():
        assert_nobody_waits(turns)
    clock.now_s += REST_S
    with ExitStack() as stack:
        with turns.turn():
            other = stack.enter_context(elsewhere(lambda: enter(turns)))
            assert not other.wait(0.02)
        assert other.wait(SOON_S)


def test_who_hangs_in_a_turn_holds_up_one_once(turns: InTurn, monkeypatch: pytest.MonkeyPatch) -> None:
    with turns.turn():
        monkeypatch.setattr(in_turn, "WAIT_S", 0.01)
        assert_nobody_waits(turns)  # for long
        monkeypatch.setattr(in_turn, "WAIT_S", LONG_S)
        assert_nobody_waits(turns)


def test_a_turn_ends_with_an_error(turns: InTurn) -> None:
    with pytest.raises(FileChanged), turns.turn():
        raise FileChanged("other bytes", path="a")
    assert_nobody_waits(turns)


def test_a_hanging_file_keeps_no_other_upload_from_being_sent(
    turns: InTurn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_turn, "WAIT_S", 0.01)
    begun, answers = threading.Event(), threading.Event()

    def hang() -> bytes:
        begun.set()
        assert answers.wait(SOON_S)
        return b"slow"

    slow = Multipart([], [replace(held("slow.txt", b"slow"), read=hang)])
    quick = Multipart(
        [], [replace(held(f"{n}.txt", b"quick"), read=lambda: b"quick") for n in range(50)], chunk_bytes=8
    )
    with elsewhere(lambda: b"".join(slow)):
        assert begun.wait(SOON_S)
        assert len(b"".join(quick)) == len(quick)
        answers.set()


def test_files_from_afar_are_read_without_turns(turns: InTurn) -> None:
    body = Multipart([], [held("a.txt", b"of a store: there is no `read`")])
    with turns.turn(), elsewhere(lambda: b"".join(body)) as sent:
        assert sent.wait(SOON_S)


def test_nothing_is_held_while_a_chunk_is_being_sent(turns: InTurn) -> None:
    uploads = [replace(held(f"{n}.txt", b"12345678"), read=lambda: b"12345678") for n in range(3)]
    for _ in Multipart([], uploads, chunk_bytes=8):
        assert_nobody_waits(turns)

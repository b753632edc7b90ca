"""Reading in turn: one after the other from memory, nobody for long behind anybody's disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from paceline.errors import FileChanged
from paceline.providers import in_turn, multipart
from paceline.providers.base import Upload
from paceline.providers.digests import LARGE_FILE_BYTES
from paceline.providers.in_turn import LATE_S, QUICK_FILE_S, REST_S, InTurn
from paceline.providers.multipart import Multipart
from tests.support.clock import Clock
from tests.unit.test_multipart import held, near

SOON_S = 10.0
LONG_S = 60.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> InTurn:
    """The turns of the process, by the hand-moved clock; nobody gives up waiting."""
    turns = InTurn(clock)
    monkeypatch.setattr(in_turn, "WAIT_S", LONG_S)
    monkeypatch.setattr(multipart, "READING", turns)
    return turns


@contextmanager
def elsewhere(act: Callable[[], object]) -> Iterator[Future[object]]:
    """Do it in another thread; give its future. Raises what it raised."""
    future = Future[object]()

    def work() -> None:
        try:
            future.set_result(act())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()  # a test that fails needn't wait for it
    yield future
    future.result(SOON_S)


def enter(turns: InTurn, files: int = 1) -> None:
    with turns.turn(files):
        pass


def assert_nobody_waits(turns: InTurn) -> None:
    with elsewhere(lambda: enter(turns)) as other:
        other.result(SOON_S)


def has_to_wait(future: Future[object]) -> bool:
    try:
        future.result(0.02)
    except TimeoutError:
        return True
    return False


def assert_others_wait(turns: InTurn) -> None:
    with ExitStack() as stack, turns.turn(1):
        other = stack.enter_context(elsewhere(lambda: enter(turns)))
        assert has_to_wait(other)


def test_one_reads_after_the_other(turns: InTurn) -> None:
    with ExitStack() as stack, turns.turn(1):
        others = [stack.enter_context(elsewhere(lambda: enter(turns))) for _ in range(3)]
        assert all(has_to_wait(other) for other in others)


def test_uploads_read_their_small_files_one_after_the_other(turns: InTurn) -> None:
    body = Multipart([], [near("a.txt", b"a"), near("b.txt", b"b")])
    with ExitStack() as stack, turns.turn(1):
        other = stack.enter_context(elsewhere(lambda: b"".join(body)))
        assert has_to_wait(other)


@pytest.mark.parametrize("quick_ones", [0, 1, 3])
def test_for_a_disk_everybody_waits_at_once_until_it_may_be_quick_again(
    turns: InTurn, clock: Clock, quick_ones: int
) -> None:
    for _ in range(1000):  # a long time ago
        enter(turns, 13)
    for _ in range(3):  # 15 ms each, and others beside it whose files come from memory
        with turns.turn(13):
            clock.now_s += 0.015
        for _ in range(quick_ones):
            with turns.turn(13):
                clock.now_s += 0.0005
    with turns.turn(1):
        assert_nobody_waits(turns)
    clock.now_s += REST_S
    with turns.turn(13):
        clock.now_s += LATE_S  # less than what is too late: what was before is forgotten
    assert_others_wait(turns)


@pytest.mark.parametrize("files", [1, 13, 250])
def test_what_is_quick_depends_on_how_many_files_there_are(turns: InTurn, clock: Clock, files: int) -> None:
    for number in range(10_000):
        with turns.turn(files):  # every tenth takes twice the time, as others have the interpreter
            clock.now_s += files * QUICK_FILE_S * (2 if number % 10 == 0 else 0.5)
    with turns.turn(files):
        clock.now_s += LATE_S  # less than what is too late, as the quick ones have made up for all
    assert_others_wait(turns)


def test_who_hangs_in_a_turn_is_waited_for_once_in_a_rest(
    turns: InTurn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with turns.turn(1):
        for _ in range(2):
            monkeypatch.setattr(in_turn, "WAIT_S", 0.01)
            assert_nobody_waits(turns)  # for long
            monkeypatch.setattr(in_turn, "WAIT_S", LONG_S)
            assert_nobody_waits(turns)
            clock.now_s += REST_S


def test_a_turn_ends_with_an_error(turns: InTurn) -> None:
    with pytest.raises(FileChanged), turns.turn(1):
        raise FileChanged("other bytes", path="a")
    assert_nobody_waits(turns)


def test_a_hanging_file_keeps_no_other_upload_from_being_sent(turns: InTurn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_turn, "WAIT_S", 0.01)
    begun, answers = threading.Event(), threading.Event()

    def hang() -> bytes:
        begun.set()
        assert answers.wait(LONG_S)
        return b"slow"

    slow = Multipart([], [replace(held("slow.txt", b"slow"), read=hang)])
    quick = Multipart([], [near(f"{number}.txt", b"quick") for number in range(50)], chunk_bytes=100)
    with elsewhere(lambda: b"".join(slow)):
        try:
            assert begun.wait(SOON_S)
            with elsewhere(lambda: b"".join(quick)) as sent:
                sent.result(SOON_S)
        finally:
            answers.set()


@pytest.mark.parametrize(
    "uploads",
    [
        [held("a.txt", b"of a store: there is no `read`")],
        [near("a.txt", b"small"), near("large.bin", bytes(2 * LARGE_FILE_BYTES))],
    ],
    ids=["from afar", "large on average"],
)
def test_others_are_read_without_turns(turns: InTurn, uploads: list[Upload]) -> None:
    body = Multipart([], uploads)
    with turns.turn(1), elsewhere(lambda: b"".join(body)) as sent:
        sent.result(SOON_S)


def test_nobody_has_a_turn_while_a_chunk_is_being_sent(turns: InTurn) -> None:
    chunks = 0
    for _ in Multipart([], [near(f"{number}.txt", b"small") for number in range(9)], chunk_bytes=200):
        assert_nobody_waits(turns)
        chunks += 1
    assert chunks > 3

"""Digests of what is sent: the same in a thread of their own, whose end nobody has to wait for in vain."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest

from paceline.errors import FileChanged
from paceline.providers.contents import CHUNK_BYTES
from paceline.providers.digests import AHEAD, LARGE_FILE_BYTES, THREAD_BYTES, AtOnce, Beside, Piece, digests_for
from paceline.providers.multipart import Multipart
from tests.unit.test_multipart import held

LARGE = [b"a" * (9 * CHUNK_BYTES + 1), b"b", b"", b"c" * CHUNK_BYTES, *(bytes([n]) * 90_000 for n in range(9)), b"d"]


def hashers() -> int:
    return sum(thread.name == "paceline-digests" for thread in threading.enumerate())


def test_only_large_files_have_a_thread_for_their_digests() -> None:
    assert isinstance(digests_for(THREAD_BYTES - 1, 1), AtOnce)
    assert isinstance(digests_for(300 * LARGE_FILE_BYTES - 1, 300), AtOnce)
    beside = digests_for(THREAD_BYTES, 1)
    assert isinstance(beside, Beside)
    assert hashers() == 1
    beside.finish()
    assert hashers() == 0


def test_the_digests_of_a_large_body_are_its_files_in_their_order() -> None:
    body = Multipart([], [held(f"{number}.bin", data) for number, data in enumerate(LARGE)])
    for _ in range(2):
        sent = b"".join(body)
        assert len(sent) == len(body)
        assert all(data in sent for data in LARGE)
        assert body.digests == tuple(hashlib.sha256(data).digest() for data in LARGE)
    assert hashers() == 0


def test_a_body_that_is_given_up_leaves_no_thread() -> None:
    chunks = iter(Multipart([], [held(str(number), data) for number, data in enumerate(LARGE)]))
    next(chunks)
    assert hashers() == 1
    del chunks
    assert hashers() == 0


def test_a_file_that_differs_leaves_no_thread() -> None:
    body = Multipart([], [held("a", LARGE[0]), held("b", b"x" * CHUNK_BYTES * 3, CHUNK_BYTES * 3 + 1)])
    with pytest.raises(FileChanged):
        list(body)
    assert hashers() == 0
    assert body.digests == (hashlib.sha256(LARGE[0]).digest(),)


@pytest.mark.parametrize("groups_after", [0, AHEAD, AHEAD + 5])
def test_what_makes_hashing_fail_is_raised_and_blocks_nobody(groups_after: int) -> None:
    beside = Beside()

    def broken() -> Iterator[Piece]:
        yield b"x", False
        raise MemoryError

    def give_all() -> None:
        beside.add(broken())
        for _ in range(groups_after):
            beside.add([(b"x", True)])
        beside.finish()

    with pytest.raises(MemoryError):
        give_all()
    beside.finish()
    assert hashers() == 0
    assert beside.found == []


def test_no_more_groups_wait_than_said() -> None:
    entered, free = threading.Event(), threading.Event()

    def slow() -> Iterator[Piece]:
        entered.set()
        assert free.wait(20)
        yield b"slow", True

    beside = Beside()
    beside.add(slow())
    assert entered.wait(20)
    done = threading.Event()

    def give() -> None:
        for _ in range(AHEAD + 1):
            beside.add([(b"x", True)])
        done.set()

    giver = threading.Thread(target=give)
    giver.start()
    assert not done.wait(0.1)
    free.set()
    assert done.wait(20)
    giver.join()
    beside.finish()
    assert len(beside.found) == AHEAD + 2


def test_where_no_thread_can_be_started_the_digests_are_made_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    body = Multipart([], [held("a.bin", LARGE[0])])
    assert LARGE[0] in b"".join(body)
    assert body.digests == (hashlib.sha256(LARGE[0]).digest(),)

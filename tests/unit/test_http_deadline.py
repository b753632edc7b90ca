"""The watchdog cuts what is late, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from paceline.providers import deadline as module
from paceline.providers.deadline import Deadline, DeadlinePassed, Watchdog, Wire, _Watch

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.settimeout(5)
        yield ours, theirs


class CountingWire(Wire):
    cuts = 0

    def cut(self) -> None:
        self.cuts += 1
        super().cut()


def let_the_watch_look() -> None:
    """Return when the thread has looked at every watchdog there is."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        wire = Wire()
        wire.attach(ours)
        with Watchdog(wire, Deadline(0.0)):
            assert ours.recv(1) == b""
        wire.detach()


def test_a_blocked_read_ends_at_the_deadline(pair: Pair) -> None:
    wire = Wire()
    wire.attach(pair[0])
    with Watchdog(wire, Deadline(0.05)):
        assert pair[0].recv(1) == b""


def test_a_connection_made_at_the_last_moment_is_cut_too(pair: Pair) -> None:
    wire = CountingWire()
    with Watchdog(wire, Deadline(0.0)):
        wire.attach(pair[0])
        assert pair[0].recv(1) == b""


def test_what_ended_in_time_is_never_cut(pair: Pair) -> None:
    now = [0.0]
    wire = CountingWire()
    wire.attach(pair[0])
    with Watchdog(wire, Deadline(30.0, lambda: now[0])):
        pass
    now[0] = 1e9
    let_the_watch_look()
    assert wire.cuts == 0
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"


def test_a_deadline_nearer_than_the_next_look_is_kept(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 15.0)
    monkeypatch.setattr(module, "IDLE_LOOKS", 1)
    monkeypatch.setattr(module, "_watch", _Watch())
    looks = [threading.Event(), threading.Event()]

    def clock() -> float:
        looks[looks[0].is_set()].set()  # the first is the deadline's own
        return 0.0

    far, near = CountingWire(), Wire()
    near.attach(pair[0])
    with Watchdog(far, Deadline(3600.0, clock)):
        assert looks[1].wait(20)
        with Watchdog(near, Deadline(0.02)):
            assert pair[0].recv(1) == b""  # it gives up after 5 s
    assert far.cuts == 0


def test_one_thread_watches_over_all_and_ends_when_idle(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    watch = _Watch()
    monkeypatch.setattr(module, "_watch", watch)
    wires = [CountingWire() for _ in range(20)]
    before = set(threading.enumerate())
    with ExitStack() as stack:
        for wire in wires:
            stack.enter_context(Watchdog(wire, Deadline(3600.0)))
        (thread,) = set(threading.enumerate()) - before
    thread.join(20)
    assert not thread.is_alive()
    late = Wire()
    late.attach(pair[0])
    with Watchdog(late, Deadline(0.01)):
        assert pair[0].recv(1) == b""


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_process_watches_by_itself(pair: Pair) -> None:
    with Watchdog(Wire(), Deadline(3600.0)):
        with module._watch._changed:  # the worst moment: somebody else has it
            child = os.fork()
            if not child:
                _exit_when_cut(pair[0])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _exit_when_cut(end: socket.socket) -> None:
    """End this process; with 0 if the connection was cut at its deadline."""
    try:
        signal.alarm(20)  # if even the lock is stuck
        wire = Wire()
        wire.attach(end)
        with Watchdog(wire, Deadline(0.01)):
            os._exit(0 if end.recv(1) == b"" else 1)
    finally:
        os._exit(1)


def test_a_detached_wire_cuts_nothing(pair: Pair) -> None:
    wire = Wire()
    wire.attach(pair[0])
    wire.detach()
    wire.cut()
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"


def test_letting_go_of_a_wire_does_not_keep_its_connection_open(pair: Pair) -> None:
    wire = Wire()
    wire.attach(pair[0])
    pair[0].close()
    wire.detach()
    assert pair[1].recv(1) == b""


def test_cutting_an_ended_connection_is_harmless(pair: Pair) -> None:
    wire = Wire()
    wire.attach(pair[0])
    pair[1].close()
    wire.cut()
    wire.cut()


def test_a_deadline_counts_the_time_its_clock_jumps() -> None:
    now = [100.0]
    deadline = Deadline(30.0, lambda: now[0])
    deadline.check()
    now[0] += 29.0
    assert deadline.left_s == 1.0
    now[0] += 3600.0
    assert deadline.left_s == 0.0
    with pytest.raises(DeadlinePassed):
        deadline.check()


def test_what_no_thread_could_be_started_for_is_not_watched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_watch", _Watch())
    wire = CountingWire()
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", _no_more_threads)
        with pytest.raises(RuntimeError), Watchdog(wire, Deadline(0.0)):
            pass
    let_the_watch_look()
    assert wire.cuts == 0


def _no_more_threads(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")

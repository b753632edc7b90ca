"""The watchdog cuts what is late, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from paceline.providers.deadline import Deadline, DeadlinePassed, Watchdog, Wire

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


def join_watchdogs() -> None:
    for thread in threading.enumerate():
        if thread.name == "paceline-deadline":
            thread.join(5)


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
    join_watchdogs()
    assert wire.cuts == 0
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"


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

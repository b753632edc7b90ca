"""A circuit per account: while a provider is down nothing is sent, and one question at a time finds out when it is up.

A connection that can't be made opens it at once; so do three requests in a row to start a run that get no word (5xx,
broken connections, timeouts), or three questions without any answer. An error that a question is answered with opens
nothing: it may be about one run only. It stays open for 1, 2, 4 … `LONGEST_S` seconds; then the next turn of a chain
asks its question, and while that fails, everybody waits for longer. Once a question is answered, one submission is
sent; its answer closes the circuit. See `lua/circuit.lua`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.model import Follow, Step
from paceline.scripts import Arg, Scripts

IN_A_ROW = 3
"""So many requests without an answer open the circuit. One alone says little: every service has a bad moment."""

LONGEST_S = 60.0

QUESTION_S = 30.0
"""For so long one question is under way at the most."""

AGAIN_S = 2.0
"""Who waits for an open circuit looks again after this: the one question under way may be answered in a moment."""


@dataclass(frozen=True, slots=True)
class CircuitView:
    """How a circuit stands. `since_s` seconds ago it opened; `next_s` until the next question; `trying`: half open."""

    why: str
    since_s: float
    next_s: float
    trying: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What a turn of a chain may do: ask (`wait_s` is 0), or come again. `failures`: in a row, until now.

    `open` with nothing to wait for: the one question is to be asked, by whoever claims it.
    """

    wait_s: float = 0.0
    failures: int = 0
    open: bool = False


class Circuit:
    """The circuits of all accounts. Thread-safe."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts

    def look(self, account: str) -> Standing:
        """Tell whether a question may be asked now. Where it would be the one question, `claim` it before."""
        return self._ask(account, "")

    def claim(self, account: str) -> float:
        """Claim the one question of an open circuit; return 0, or seconds to wait as somebody else asks it."""
        return self._ask(account, round(QUESTION_S * 1000)).wait_s

    def _ask(self, account: str, for_ms: Arg) -> Standing:
        row = self._scripts.run("circuit_ask", [keys.account(account)], [for_ms])
        match row[0]:
            case b"closed":
                return Standing(failures=int(row[1]))
            case b"open":
                return Standing(wait_s=min(int(row[1]) / 1000, AGAIN_S), open=True)
            case b"probe":
                return Standing(open=True)
            case _:
                return Standing()

    def failed(
        self, account: str, why: str, *, submission: str = "", surely: bool = False, question: bool = False
    ) -> float:
        """Record a request without an answer; return the seconds until the next question, 0 while it stays closed.

        `surely`: no connection could be made, so that one such failure is enough. `question`: it was the one question
        of an open circuit.
        """
        args: list[Arg] = [why, 1 if surely else IN_A_ROW, round(LONGEST_S * 1000), submission, int(question)]
        return int(self._scripts.run("circuit_failed", [keys.account(account)], args)) / 1000

    def answered(self, account: str, *, submission: bool = False) -> list[Follow]:
        """Record an answer, whatever it says; `submission`: to a request that would start a run."""
        args: list[Arg] = [account, int(submission)]
        wanted = [keys.account(account), keys.CHAINS, keys.feed(account), keys.released(account)]
        wake = int(self._scripts.run("circuit_answered", wanted, args))
        return [] if wake < 0 else [Follow(Step.FEED, account, wake / 1000)]

    def view(self, account: str) -> CircuitView | None:
        """Show an account's circuit; None while it is closed. Reads only."""
        row = self._redis.hmget(keys.account(account), _SHOWN)
        if row[0] is None:
            return None
        seconds, micros = self._redis.time()
        return parse_circuit(dict(zip(_SHOWN, row, strict=True)), seconds * 1000 + micros // 1000)


_SHOWN = ("down_until", "down_why", "down_since", "down_half")


def parse_circuit(row: Mapping[str, bytes | str | None], now_ms: int) -> CircuitView | None:
    """Read an account's hash, or what of it is about its circuit; None while that is closed."""
    until, why, since, half = map(row.get, _SHOWN)
    if until is None:
        return None
    return CircuitView(
        why=why.decode() if isinstance(why, bytes) else why or "",
        since_s=max(now_ms - int(since or until), 0) / 1000,
        next_s=max(int(until) - now_ms, 0) / 1000,
        trying=half in (b"1", "1"),
    )

"""Takes hints that runs have ended, so that they are asked after at once instead of at their next due time.

A hint proves nothing and is never needed: it only moves the next question about a run forward. Who sent it, whether it
is true and how often it came changes neither what a run is taken for nor, beyond `SILENCE_S`, what it costs. One that
comes while its run is just being asked after may be lost, to the run's next due time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.errors import UnknownBatch
from paceline.model import SUBMISSION_ID, Follow, Step, follow_agent_key
from paceline.scripts import Arg, Scripts

SILENCE_S = 5.0
"""After a hint that counted, further ones about the same run change nothing for so long: what young runs are asked
after anyway."""

YOUNGEST_S = 1.0
"""No run is asked after sooner than this after its start; see `lua/take_due.lua`."""

APART_S = 1.0
"""Between two questions about an agent's runs that hints bring; see `delays.tick_s`."""

BARE_MOST = 300
"""A bare hint is about so many runs at most, those that are due next: what fits into one list call."""

HINT_MOST = 100
"""So many runs are taken from one message at most."""

SCAN_MOST = 20_000
"""A run named without external id is looked for among so many runs in flight; beyond that it waits for its poll."""

AGENTS_MOST = 1000

_EXTERNAL_ID = re.compile(rf"(b[0-9a-z]{{9}})\.(?=\1-)({SUBMISSION_ID})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RunHint:
    """A run that has probably ended, as whoever says so names it; None where that isn't said."""

    run_id: str
    agent: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Hinted:
    """What hints came to: `about` runs of ours in flight, `earlier` of them due earlier now, messages to send."""

    about: int = 0
    earlier: int = 0
    follows: tuple[Follow, ...] = ()

    def __add__(self, other: Hinted) -> Hinted:
        return Hinted(self.about + other.about, self.earlier + other.earlier, self.follows + other.follows)


class Hints:
    """Moves questions about runs forward. Thread-safe; safe to call from anywhere at any time.

    `place` tells a batch's account and agent, or raises `UnknownBatch`: `Desk.place`.
    """

    def __init__(self, redis: Redis, scripts: Scripts, place: Callable[[str], tuple[str, str]]) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts
        self._place = place

    def agents(self, account: str) -> list[str]:
        """Name the account's agents that have runs in flight."""
        prefix = f"{Step.POLL}:{account}:"
        found = self._redis.zscan_iter(keys.CHAINS, match=prefix + "*", count=1000)
        return sorted({chain.decode().removeprefix(prefix) for chain, _ in islice(found, AGENTS_MOST)})

    def ended(self, account: str, hints: Sequence[RunHint]) -> Hinted:
        """Take hints about runs. Those that aren't in flight under that run id are passed over."""
        by_agent: dict[str, list[Arg]] = defaultdict(list)
        for hint in hints[:HINT_MOST]:
            found = self._find(account, hint)
            if found is not None:
                agent, submission = found
                by_agent[agent] += [submission, hint.run_id]
        return sum((self._hint(account, agent, pairs) for agent, pairs in by_agent.items()), Hinted())

    def something(self, account: str, agent: str) -> Hinted:
        """Take a hint that something happened to runs of an agent; counts once in `SILENCE_S`."""
        return self._hint(account, agent, [])

    def _hint(self, account: str, agent: str, pairs: Sequence[Arg]) -> Hinted:
        key = follow_agent_key(account, agent)
        wanted = [keys.due(account, agent), keys.runs(account, agent), keys.gap(account, agent)]
        wanted += [keys.hinted(account, agent), keys.CHAINS]
        args: list[Arg] = [f"{Step.POLL}:{key}", round(SILENCE_S * 1000), round(YOUNGEST_S * 1000), BARE_MOST]
        args += [round(APART_S * 1000), *pairs]
        about, earlier, wake = (int(number) for number in self._scripts.run("hint", wanted, args))
        return Hinted(about, earlier, (Follow(Step.POLL, key, wake / 1000),) if wake >= 0 else ())

    def _find(self, account: str, hint: RunHint) -> tuple[str, str] | None:
        """Return agent and submission that a hint can only mean; whether the run is theirs is the script's to say."""
        if hint.external_id is None:
            return self._scan(account, hint)
        match = _EXTERNAL_ID.fullmatch(hint.external_id)
        if match is None:
            return None  # somebody else's run
        try:
            owner, agent = self._place(match[1])
        except UnknownBatch:
            return None
        return (agent, match[2]) if owner == account and hint.agent in (None, agent) else None

    def _scan(self, account: str, hint: RunHint) -> tuple[str, str] | None:
        start = hint.run_id.encode() + b"\n"
        agents = [agent for agent in self.agents(account) if hint.agent in (None, agent)]
        for agent, submission, packed in islice(self._in_flight(account, agents), SCAN_MOST):
            if packed.startswith(start):
                return agent, submission
        return None

    def _in_flight(self, account: str, agents: Sequence[str]) -> Iterator[tuple[str, str, bytes]]:
        for agent in agents:
            for submission, packed in self._redis.hscan_iter(keys.runs(account, agent), count=1000):
                yield agent, submission.decode(), packed

"""The whole system in one process on a clock that the test moves: real scripts, real runner, a fake provider.

Messages stand in a queue of (time, message); `run()` delivers them in order of time, moving the clock, with rescue
every three seconds. A test may drop, repeat or reorder them, because messages are hints.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import fakeredis
from redis import Redis
from redis.exceptions import RedisError

from paceline.bundling import bundled
from paceline.chains import Chains
from paceline.circuit import Circuit
from paceline.files import SourceRoot
from paceline.known import KnownFiles
from paceline.ledger import Ledger
from paceline.limiter import Limiter, PacePolicy
from paceline.model import BatchSpec, Follow, PlannedFile, PlannedSubmission
from paceline.providers.base import Provider
from paceline.replies import Moved
from paceline.results import MemoryResults, Results
from paceline.runner import Runner
from paceline.sinks.base import Closing, Part, Sink
from paceline.spool import Request, Spool, Verdict
from paceline.steps.context import Account, Context, Waits
from paceline.views import Views
from tests.support.fake_provider import FakeProvider
from tests.support.notes import Notes
from tests.support.seam import Crash, Seam, SeamRedis, SeamScripts, Through

CLOCK_KEY = "pl:test:clock"
SERVER_KEY = "pl:test:server"
START_S = 1_800_000_000.0


MADE: list[World] = []
"""Every world of the current test, for the check that no key was leaked."""


class MemorySink:
    """A sink that keeps parts in a dictionary and commits in memory."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.commits: list[Closing] = []
        self.on_write: Callable[[Part], None] | None = None

    def write(self, part: Part) -> None:
        """Keep a part."""
        if self.on_write:
            self.on_write(part)
        self.parts[part.submission] = part

    def check(self, batch: str | None) -> None:
        """Find nothing wrong."""

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Do nothing: the manifest is on the same disk."""

    def commit(self, closing: Closing) -> None:
        """Keep a closing."""
        self.commits.append(closing)


class MemorySpool:
    """A disk that outlives the processes of a world."""

    def __init__(self) -> None:
        self.notes = Notes()

    def begun(self, request: Request) -> None:
        """Note a request."""
        self.notes.begun(request)

    def keep(self, verdict: Verdict) -> None:
        """Note a verdict."""
        self.notes.keep(verdict)

    def handed_in(self, verdict: Verdict) -> None:
        """Drop a verdict."""
        self.notes.handed_in(verdict.request)

    def latest(self, submission: str) -> Request | None:
        """Return the newest request."""
        return self.notes.latest.get(submission)

    def accepted(self, submission: str) -> Verdict | None:
        """Return the newest accepted run."""
        return self.notes.accepted.get(submission)

    def waiting(self) -> list[Verdict]:
        """Return what waits."""
        return list(self.notes.waiting.values())


class TrustingRoot(SourceRoot):
    """A source root whose files are always there, unless `problem` says otherwise."""

    def __init__(self) -> None:
        self.problem: Callable[[Any], None] | None = None

    def check(self, file: Any) -> None:
        """Raise what the test wants."""
        if self.problem:
            self.problem(file)


class VirtualViews(Views):
    """Views on the moved clock."""

    def now_ms(self) -> int:
        """Return the moved clock."""
        return int(self._redis.get(CLOCK_KEY))


NEW_REDIS: list[Callable[[], Any]] = [fakeredis.FakeRedis]
"""Makes the Redis of a world that isn't given one; tests put a real server here, which is five times as fast."""


class World:
    """One account `fake`, one agent `7`, any number of batches."""

    def __init__(
        self,
        redis: Redis | None = None,
        *,
        waits: Waits | None = None,
        pace: PacePolicy | None = None,
        seam: Seam | None = None,
    ) -> None:
        self.redis: Any = redis if redis is not None else NEW_REDIS[0]()
        self.seam = seam or Seam()
        self.clock = START_S
        self._tick(0)
        self.provider = FakeProvider(now=lambda: self.clock, passing=self.seam)
        self.sink = MemorySink()
        self.spool = MemorySpool()
        self.root = TrustingRoot()
        self.results = MemoryResults()
        self.policy = pace or PacePolicy(durable=True, watch_clock=False)
        self.waits = waits or Waits()
        self.restart()
        self._queue: list[tuple[float, int, Sequence[Follow]]] = []
        self._order = itertools.count()
        self.delivered = 0
        self.crashes = 0
        self.redelivers = False
        self.rescue_every_s = 3.0
        self.drop: Callable[[Follow], bool] = lambda _follow: False
        self.copies = 1
        MADE.append(self)

    def restart(self) -> None:
        """Begin a new process: nothing is left of the old one but what is outside of it."""
        seam = self.seam
        scripts = SeamScripts(self.redis, seam)
        self.ledger = Ledger(cast("Redis", SeamRedis(self.redis, seam)), scripts, self.policy)
        self.views = VirtualViews(self.redis)
        self.known = KnownFiles(self.redis, scripts)
        provider = cast(
            "Provider",
            Through(self.provider, seam, "provider", ("submit", "ask", "get", "find", "delete", "describe_agent")),
        )
        sink = cast("Sink", Through(self.sink, seam, "sink", ("write", "commit")))
        self.context = Context(
            ledger=self.ledger,
            chains=Chains(scripts),
            limiter=Limiter(self.redis, scripts, self.policy),
            circuit=Circuit(self.redis, scripts),
            views=self.views,
            known=self.known,
            results=cast("Results", Through(self.results, seam, "results", ("put",))),
            accounts={"fake": Account("fake", provider, self.provider.rates)},
            source=lambda _path: self.root,
            sink=lambda _url: sink,
            spool=cast("Spool", Through(self.spool, seam, "spool", ("begun", "keep", "handed_in"))),
            waits=self.waits,
            worker="w1",
            elapsed=lambda: self.clock,
            log=logging.getLogger("paceline.world"),
        )
        self.runner = Runner(self.context)

    def _tick(self, seconds: float) -> None:
        self.clock += seconds
        self.redis.set(CLOCK_KEY, round(self.clock * 1000))

    def send(self, follows: Sequence[Follow]) -> None:
        """Queue messages, unless the test drops them."""
        for bundle in bundled(follow for follow in follows if not self.drop(follow)):
            for _ in range(self.copies):
                self.seam.effect("send", partial(self._push, bundle))

    def _push(self, bundle: Sequence[Follow]) -> None:
        heapq.heappush(self._queue, (self.clock + bundle[0].countdown_s, next(self._order), bundle))

    def lose_messages(self) -> None:
        """Delete every queue."""
        self._queue.clear()

    def plan(
        self,
        submissions: int,
        *,
        name: str = "batch",
        files: int = 3,
        priority: int = 0,
        choices: Mapping[str, str] | None = None,
    ) -> str:
        """Plan a batch of so many submissions, completely."""
        spec = BatchSpec(
            source="/files",
            account="fake",
            provider="fake",
            agent="7",
            to=("/out",),
            files_per_run=files,
            name=name,
            priority=priority,
            choices=choices or {},
        )
        batch = spec.batch_id()
        self.ledger.open_batch(spec, manifest="/out/manifest.jsonl")
        for index in range(1, submissions + 1):
            rows = tuple(
                PlannedFile(f"{index}/{n}.txt", 10 + n, 1_700_000_000_000_000_000, f"{n}.txt") for n in range(files)
            )
            moved = self.ledger.plan(batch, PlannedSubmission(index, rows), manifest_bytes=index * 100)
            if isinstance(moved, Moved) and moved.follow:
                self.send([moved.follow])
        follow = self.ledger.listed(batch, skipped=0, manifest_bytes=0)
        self.send([follow] if follow else [])
        return batch

    def run(self, seconds: float = 100_000.0, *, until: Callable[[], bool] | None = None) -> None:
        """Deliver messages and rescue until `until`, or nothing is left to do, or the time is over."""
        end = self.clock + seconds
        next_rescue = self.clock + self.rescue_every_s
        while self.clock < end and not (until and until()):
            at = min(self._queue[0][0] if self._queue else next_rescue, next_rescue)
            self._tick(max(at - self.clock, 0.0))
            if self._queue and self._queue[0][0] <= self.clock:
                bundle = heapq.heappop(self._queue)[2]
                self.delivered += 1
                self._step(partial(self.runner.run, bundle[0].step, *(one.key for one in bundle)), bundle)
                continue
            next_rescue = self.clock + self.rescue_every_s
            self._step(self.runner.rescue)
            if not self._queue and self.idle():
                return

    def _step(self, step: Callable[[], Sequence[Follow]], bundle: Sequence[Follow] = ()) -> None:
        """Carry out a step as a worker does; where it dies, another process goes on, without or with the message."""
        try:
            self.send(step())
        except Crash:
            self.crashes += 1
            self.restart()
            if bundle and self.redelivers:
                self._push([replace(follow, countdown_s=1.0) for follow in bundle])
        except RedisError:
            if not self.seam.plan:
                raise

    def idle(self) -> bool:
        """Tell whether nothing is left that time would change."""
        return not any(self.redis.exists(key) for key in ("pl:chains", "pl:leases", "pl:exports"))

    def states(self, batch: str) -> dict[str, int]:
        """Count a batch's submissions by state, leaving zeros out."""
        return {state.value: number for state, number in self.views.batch(batch).by_state.items() if number}


def out_folder(tmp_path: Path) -> str:
    """Name an output folder beneath a test's own."""
    return str(tmp_path / "out")

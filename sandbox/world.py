"""A sandbox's whole state in one place; it lives in memory and ends with the process."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sandbox.agent import agents_from, work
from sandbox.arrivals import RequestLog
from sandbox.facts import FileFacts
from sandbox.faults import FaultBox
from sandbox.keys import KeyRing
from sandbox.kindo_agents import KINDO_AGENTS
from sandbox.kindo_runs import KindoRun, KindoRunStore
from sandbox.limits import Limiter
from sandbox.options import SandboxOptions, Seconds
from sandbox.runs import Course, Run, RunStore
from sandbox.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from: seconds that never go back, and seconds since 1970."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class Bell:
    """Wakes everyone who waits for something to happen; costs nothing while nobody does."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake all waiters; they look for themselves whether it was for them."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait(self, timeout_s: float) -> None:
        """Wait for the next ring, at most ``timeout_s``."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        await asyncio.wait([future], timeout=timeout_s)
        self._waiting.discard(future)

    async def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``ready()`` holds after a ring, at most ``timeout_s``; say whether it does."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while not ready():
            remaining_s = deadline_s - loop.time()
            if remaining_s <= 0:
                return False
            await self.wait(remaining_s)
        return True


class World:
    """Options, keys, limits, faults, the request log and the runs of one sandbox."""

    def __init__(self, options: SandboxOptions, clock: Clock | None = None) -> None:
        self.options = options
        self.clock = clock or Clock()
        self.started_s = self.clock.monotonic()
        self.agents = agents_from(options.agents)
        self.kindo_agents = KINDO_AGENTS
        self.keys = KeyRing(options.accepted_keys)
        self.limiter = Limiter(options.limits, refused_count=options.refused_count)
        self.retry_after = options.retry_after
        self.faults = FaultBox(options.faults, options.seed)
        self.log = RequestLog(options.log_file)
        self.runs = RunStore()
        self.kindo = KindoRunStore()
        self.hidden_gets: Counter[int | str] = Counter()  # how often a fault has hidden a run
        self.run_seconds = options.run_seconds
        self.happened = Bell()  # something that /_sandbox/wait may wait for
        self.runs_moved = Bell()  # somebody changed when runs finish
        self.webhooks = Webhooks(self, options.webhook, options.webhook_secret)
        self._durations = random.Random(options.seed + 1)  # noqa: S311 - the point is that it can be repeated

    @property
    def accepted(self) -> int:
        """Count the runs ever accepted, of all providers."""
        return self.runs.accepted + self.kindo.accepted

    def all_runs(self) -> Iterator[Run | KindoRun]:
        """Go through the runs of all providers."""
        yield from self.runs.all()
        yield from self.kindo.all()

    def accept(
        self, agent_id: int, external_id: str | None, files: Sequence[FileFacts], request_class: str = "add"
    ) -> Run:
        """Create a run for uploaded files, do its work, and decide how it will go."""
        order = self.agents[agent_id].order
        run = Run(
            run_id=self.runs.next_id(),
            agent_id=agent_id,
            external_id=external_id,
            file_names=[file.name for file in files],
            results=work(order, files),
            course=self.course(request_class, agent_id, len(order), [file.name for file in files]),
            created_s=self.clock.monotonic(),
            created_us=math.floor(self.clock.wall() * 1e6),
            credits_per_prompt=self.options.credits * len(files),
        )
        self.runs.add(run)
        self.webhooks.follow(run)
        self.happened.ring()
        return run

    def finish_runs(self, runs: Sequence[Run | KindoRun]) -> int:
        """End running runs now; say how many were running."""
        now_s = self.clock.monotonic()
        finished = sum(run.finish(now_s) for run in runs)
        self.runs_moved.ring()
        self.happened.ring()
        return finished

    def reset(self) -> None:
        """Go back to the options: no runs, no log, no faults but those given at the start, fresh windows."""
        self.keys = KeyRing(self.options.accepted_keys)
        self.limiter = Limiter(self.options.limits, refused_count=self.options.refused_count)
        self.retry_after = self.options.retry_after
        self.faults = FaultBox(self.options.faults, self.options.seed)
        self.log.clear()
        self.runs.clear()
        self.kindo.clear()
        self.hidden_gets.clear()
        self.run_seconds = self.options.run_seconds
        self.webhooks.reset()
        self.happened.ring()

    def set_run_seconds(self, text: str) -> None:
        """Change how long new runs take; raise ValueError if it isn't like 2 or 2-8."""
        self.run_seconds = Seconds.parse(text)

    def course(self, request_class: str, agent_id: int | str, n_prompts: int, names: Sequence[str] = ()) -> Course:
        """Decide how a run that is being accepted will go."""
        seconds = self._durations.uniform(self.run_seconds.low_s, self.run_seconds.high_s)
        fault = self.faults.draw_outcome(request_class, agent_id, names)
        if fault is None:
            return Course(seconds)
        if fault.kind == "never_finish":
            return Course(math.inf)
        if fault.kind == "slow_runs":
            return Course(fault.parameters["seconds"])
        failing = fault.parameters["prompts"] or n_prompts
        return Course(seconds, min(failing, n_prompts), fault.parameters["status"] or None, fault.parameters["error"])

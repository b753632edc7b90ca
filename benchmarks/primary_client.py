"""Carries submissions through the ledger as fast as one process can: what Redis does for a submission, and no more.

    python -m benchmarks.primary_client SOCKET THREADS SECONDS

There are no messages, no requests and no files; every verb and every look at the ledger is the library's own, in the
order in which the steps make them. Prints `ready`, waits for a line, and prints how many submissions went from planned
to exported in SECONDS and the CPU seconds that took.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis import Redis

from paceline.ledger import Ledger
from paceline.limiter import PacePolicy
from paceline.model import (
    BatchSpec,
    EndpointClass,
    Outcome,
    PlannedFile,
    PlannedSubmission,
    Rate,
    RunView,
)
from paceline.replies import Begun, Ending, Moved
from paceline.scripts import Scripts
from paceline.views import Views

RATE = Rate(100_000, 1.0)
RATES = {EndpointClass.ADD: RATE, EndpointClass.WAIT: RATE}
AGENT = "1"
TURN = 32
"""Submissions that a life carries at once: they share the looks of feed and poll, as in a batch under way."""

DIGEST = b"d" * 32


class Life:
    """One batch of an account of its own, and the verbs of its submissions, `TURN` at a time."""

    def __init__(self, redis: Redis, name: str) -> None:
        scripts = Scripts(redis)
        self._ledger = Ledger(redis, scripts, PacePolicy(durable=True, watch_clock=False))
        self._views = Views(redis)
        self._account = name
        spec = BatchSpec("/files", name, "kolena", AGENT, ("/out",), 1, name)
        self._batch = spec.batch_id()
        self._ledger.open_batch(spec, manifest="/out/manifest.jsonl")
        self._planned = 0

    def turns(self) -> Iterator[int]:
        """Carry `TURN` submissions from planned to exported, and say how many, for ever."""
        while True:
            self.plan()
            begun = self.begin(self.release())
            self.accept(begun)
            finished = self.finish(self.due())
            self.export(finished)
            yield len(finished)

    def plan(self) -> None:
        """Plan the next submissions, of one file each."""
        planned = []
        for index in range(self._planned + 1, self._planned + TURN + 1):
            file = PlannedFile(f"folder/document-{index:07d}.pdf", 100_000, 0, f"document-{index:07d}.pdf")
            planned.append((PlannedSubmission(index, (file,)), 100 * index, 0))
        moved = self._ledger.plan_all(self._batch, planned)
        assert all(isinstance(one, Moved) for one in moved), "somebody else planned this batch"
        self._planned += TURN

    def release(self) -> Sequence[str]:
        """Release what was planned."""
        return self._ledger.release(self._account, RATES, window=TURN, lease_s=30).submissions

    def begin(self, submissions: Sequence[str]) -> list[tuple[str, int]]:
        """Look at each submission as the step does, take its permit and write the intent."""
        begun = []
        for item in submissions:
            self._look(item)
            found = self._ledger.begin(
                item, 1, rate=RATE, worker="host-1:4711@90f3ad1c", lease_s=90, token="0123456789ab"
            )
            assert isinstance(found, Begun), found
            begun.append((item, found.attempt))
        return begun

    def accept(self, begun: Sequence[tuple[str, int]]) -> None:
        """Record the runs."""
        for item, attempt in begun:
            run = RunView(f"run-{item}", None, "running", None, run_url=f"https://app.example/runs/{item}")
            self._ledger.accepted(item, run, attempt=attempt, first_poll_s=0.0, digests=[DIGEST])

    def due(self) -> list[tuple[str, int]]:
        """Take the runs that are due, with the permit for one question."""
        due = self._ledger.take_due(
            self._account, AGENT, rate=RATE, most=300, slack_s=1, lease_s=30, endpoint=EndpointClass.LIST
        )
        return [(run.submission, run.generation) for run in due.runs]

    def finish(self, due: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Record their ends, in one round trip."""
        done = RunView("", None, "completed", Outcome.SUCCEEDED, credits=1.5)
        ended = [Ending(item, generation, Outcome.SUCCEEDED, "completed", run=done) for item, generation in due]
        moved = self._ledger.finish(ended)
        assert all(isinstance(one, Moved) for one in moved), moved
        return [(item, one.generation) for (item, _), one in zip(due, moved, strict=True) if isinstance(one, Moved)]

    def export(self, finished: Sequence[tuple[str, int]]) -> None:
        """Look at each as the step does, and record that its sinks have it."""
        for item, generation in finished:
            self._look(item)
            self._views.digests(item)
            moved = self._ledger.exported(item, generation)
            assert isinstance(moved, Moved), moved

    def _look(self, item: str) -> None:
        assert self._views.find_submission(item) is not None
        self._views.batch(self._batch)
        self._views.files(item)


def carry(life: Life, seconds: float) -> int:
    """Carry submissions for so long; return how many were exported."""
    done, until = 0, time.monotonic() + seconds
    for carried in life.turns():
        done += carried
        if time.monotonic() >= until:
            break
    return done


def main(arguments: list[str]) -> None:
    """Do what the module's description says."""
    socket, threads, seconds = arguments
    redis: Any = Redis(unix_socket_path=socket)
    lives = [Life(redis, f"account-{os.getpid()}-{thread}") for thread in range(int(threads))]
    done = [0] * len(lives)

    def work(at: int) -> None:
        done[at] = carry(lives[at], float(seconds))

    print("ready", flush=True)
    sys.stdin.readline()
    cpu_s = time.process_time()
    working = [threading.Thread(target=work, args=(at,)) for at in range(len(lives))]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    assert all(done), "a thread failed"
    print(sum(done), f"{time.process_time() - cpu_s:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

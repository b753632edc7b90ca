"""Crash enumeration: a small batch, carried through once per schedule of things going wrong, then judged from outside.

A scenario says what the provider is like and what it does; a schedule says at which effects a process crashes, a
connection breaks or a process is stopped. Every run ends quietly, with fresh processes; then the invariants of the
reliability document are looked for at the provider, in the journal, in the sink and in the spool.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from paceline.errors import Ambiguous, NotSent, Refused, Throttled
from paceline.halving import halves_of
from paceline.lifecycle import Verb, allows
from paceline.limiter import PacePolicy
from paceline.model import Choice, EndpointClass, Outcome, Rate, State, external_id, submission_id
from paceline.providers.base import SubmitRequest
from paceline.replies import Moved
from paceline.sinks.base import Part
from paceline.steps.context import Waits
from tests.support import world as worlds
from tests.support.fake_provider import CAPABILITIES, RATES
from tests.support.notes import Notes
from tests.support.seam import PUTTING_BACK, SIMPLE, Mode, Seam
from tests.support.world import SERVER_KEY, World

SUBMISSIONS = 2
RATE = Rate(1, 5.0)
"""So narrow that a permit too many is seen at once."""

POISON = "1.txt"

STALL_S = 700.0
"""Longer than every lease, the settling time and the permits' life together."""

WAITS = Waits(settle_s=20.0, hold_after_s=3000.0, run_limit_s=50_000.0, not_found_grace_s=20.0)

Schedule = Mapping[int, Mode]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the provider is like (`finds`: it can be asked for external ids) and what goes wrong there besides.

    `copies` is how often each message is delivered; `redelivers`: a message comes again if its worker died over it.
    `durable` is the embedded server, whose workers share one spool; without it, Redis comes back as another server,
    and what the spool knew is on a machine that doesn't. `stall_s` is how long a stop lasts: a short one ends while a
    request may still be under way. `isolates`: one file of each submission makes its runs fail, and is looked for by
    halves.
    """

    name: str
    finds: bool = True
    copies: int = 1
    redelivers: bool = False
    durable: bool = True
    stall_s: float = STALL_S
    first_post: Callable[[], Exception] | None = None
    first_answer: Callable[[], Exception] | None = None
    isolates: bool = False


def _lost() -> Exception:
    return Ambiguous("the connection broke")


SCENARIOS = (
    Scenario("plain"),
    Scenario("plain, no finding", finds=False),
    Scenario("every message twice", copies=2, redelivers=True),
    Scenario("every message twice, no finding", finds=False, copies=2, redelivers=True),
    Scenario("first answer lost", first_answer=_lost),
    Scenario("first answer lost, no finding", finds=False, first_answer=_lost),
    Scenario("first request lost", first_post=_lost),
    Scenario("first request too fast", first_post=lambda: Throttled("slow down", retry_after_s=7.0)),
    Scenario("first request not sent", first_post=lambda: NotSent("no connection"), redelivers=True),
    Scenario("first request refused", first_post=lambda: Refused("no", http_status=422)),
    Scenario("split in halves", isolates=True),
    Scenario("split in halves, every message twice", isolates=True, copies=2, redelivers=True),
)


PUT_BACK = (
    Scenario("put back, with the spool"),
    Scenario("put back, with the spool, no finding", finds=False),
    Scenario("put back, every message twice", copies=2),
    Scenario("put back, another server", durable=False),
    Scenario("put back, another server, first answer lost", durable=False, first_answer=_lost),
    Scenario("put back, another server, short stops", durable=False, first_post=_lost, stall_s=58.0),
    Scenario("put back, with the spool, short stops", first_post=_lost, stall_s=58.0),
    Scenario("put back, with the spool, split in halves", isolates=True),
    Scenario("put back, another server, split in halves", durable=False, isolates=True),
)
"""Scenarios for schedules in which Redis is put back to an older state."""


class Trial:
    """One run of a scenario under a schedule."""

    def __init__(self, client: Any, scenario: Scenario, schedule: Schedule) -> None:
        client.flushall()
        worlds.MADE.clear()
        self.seam = Seam(schedule)
        self.scenario = scenario
        policy = PacePolicy(durable=scenario.durable, watch_clock=False)
        self.world = world = World(client, waits=WAITS, seam=self.seam, pace=policy)
        self.put_back = any(mode in PUTTING_BACK for mode in schedule.values())
        self._saved: list[tuple[Any, int, Any]] = []
        self._saved_results: dict[str, Any] = {}
        self.problems: list[str] = []
        self.refused: set[str] = set()
        provider = world.provider
        provider.rates = {**RATES, EndpointClass.ADD: RATE}
        provider.capabilities = CAPABILITIES if scenario.finds else replace(CAPABILITIES, finds_many=0)
        provider.on_submit = self._on_submit
        provider.after_accept = self._after_accept
        world.sink.on_write = self._on_write
        world.copies, world.redelivers = scenario.copies, scenario.redelivers
        world.rescue_every_s = 10.0
        provider.run_s = 4.0
        world.restart()
        self.seam.on = False
        self.batch = world.plan(SUBMISSIONS)
        if scenario.isolates:
            provider.poison = lambda names: POISON in names
            world.ledger.choose(self.batch, {Choice.ISOLATE: "1000"})
        self.seam.on = True
        self.seam.stall = lambda: world.run(scenario.stall_s)
        self.seam.save, self.seam.put_back = self._save, self._put_back
        self._faults = [scenario.first_post]
        self._late_faults = [scenario.first_answer]

    def run(self) -> list[str]:
        """Carry the batch to its end; return what doesn't hold."""
        world = self.world
        world.run(20_000.0)
        self.seam.on = False
        world.restart()
        world.run(20_000.0)
        for _ in range(3 if not self.scenario.finds else 0):
            self._decide()
            world.run(20_000.0)
        self._judge()
        worlds.MADE.clear()
        return self.problems

    def _on_submit(self, request: SubmitRequest) -> None:
        if self.put_back:
            self._fault()
            return  # the ledger may have forgotten, between the intent and this moment
        item = self.world.views.submission(request.external_id.partition(".")[2])
        noted = self.world.spool.latest(item.id)
        if item.state is not State.SUBMITTING:
            self.problems.append(f"I11: {item.id} is sent while it is {item.state}")
        if noted is None or noted.generation != item.generation:
            self.problems.append(f"I11: {item.id} is sent without a note in the spool")
        self._fault(item.id)

    def _fault(self, submission: str = "") -> None:
        fault = self._faults.pop() if self._faults else None
        if fault is not None:
            error = fault()
            if isinstance(error, Refused):
                self.refused.add(submission)
            elif isinstance(error, NotSent):
                self.world.provider.arrivals.pop()
            raise error

    def _after_accept(self, _request: SubmitRequest) -> None:
        fault = self._late_faults.pop() if self._late_faults else None
        if fault is not None:
            raise fault()

    def _on_write(self, part: Part) -> None:
        before = self.world.sink.parts.get(part.submission)
        if self.put_back:
            return  # attempts and times are as the older state and the provider have them
        if before is not None and (dict(before.record) != dict(part.record) or before.files != part.files):
            self.problems.append(f"I5: the record of {part.submission} differs when it is written again")

    def _save(self) -> None:
        redis = self.world.redis
        names = [name for name in redis.keys("*") if not name.startswith(b"pl:test:")]
        self._saved = [(name, max(redis.pttl(name), 0), redis.dump(name)) for name in names]
        self._saved_results = dict(self.world.results.records)

    def _put_back(self) -> None:
        redis = self.world.redis
        for name in redis.keys("*"):
            if not name.startswith(b"pl:test:"):
                redis.delete(name)
        for name, ttl, value in self._saved:
            redis.restore(name, ttl, value)
        self.world.results.records = dict(self._saved_results)
        self.world.lose_messages()
        if not self.scenario.durable:
            redis.set(SERVER_KEY, "second")
            self.world.spool.notes = Notes()

    def _decide(self) -> None:
        """Decide on what is held as a person does who looks at the provider."""
        for item in list(self.world.views.submissions(self.batch)):
            if item.state is not State.HELD:
                continue
            runs = [run for run in self.world.provider.runs.values() if run.external_id == item.external_id]
            if runs:
                (view,) = self.world.provider.find("7", [item.external_id])
                moved = self.world.ledger.accepted(item.id, view, attempt=None, first_poll_s=0.0)
            else:
                moved = self.world.ledger.resubmit(item.id, item.generation, reason="by_person")
            if isinstance(moved, Moved) and moved.follow:
                self.world.send([moved.follow])

    # -- judging from outside ---------------------------------------------------------------------------------------

    def _judge(self) -> None:
        world, batch = self.world, self.world.views.batch(self.batch)
        say = self.problems.append
        ids = [submission_id(self.batch, index) for index in self._indexes()]
        runs = Counter(run.external_id for run in world.provider.runs.values())
        for item in ids:
            wanted = (0, 1) if item in self.refused else (1,)  # a refusal that dies with its process is tried again
            if runs[external_id(item)] not in wanted:
                say(f"I1: {item} has {runs[external_id(item)]} runs")
        if sorted(world.sink.parts) != sorted(ids):
            say(f"I5: records of {sorted(world.sink.parts)}")
        for item, part in world.sink.parts.items():
            self._judge_record(item, part)
        rows = Counter(row["path"] for part in world.sink.parts.values() for row in part.files)
        if rows != {f"{index}/{n}.txt": 1 for index in range(1, SUBMISSIONS + 1) for n in range(3)}:
            say(f"I2: file records {dict(rows)}")
        if (batch.in_manifest, batch.isolated) != (SUBMISSIONS, len(ids) - SUBMISSIONS):
            say(f"{batch.in_manifest} submissions counted in the manifest, {batch.isolated} runs for halves")
        self._judge_pace()
        self._judge_journal()
        states = Counter(item.state for item in world.views.submissions(self.batch))
        if states != {State.EXPORTED: len(ids)} or not batch.closed:
            say(f"I9: ends as {dict(states)}, closed: {batch.closed}")
        if any(batch.by_state[state] != states[state] for state in State):
            say(f"the counters say {dict(batch.by_state)}")
        if batch.closed and [one.summary["files"]["pending"] for one in world.sink.commits[-1:]] != [0]:
            say("I15: the batch is closed without a complete summary")
        there = sum(runs.values())
        if batch.duplicates or batch.runs_accepted != there:
            say(f"I10: {batch.runs_accepted} accepted, {there} at the provider, duplicates {batch.duplicates}")
        if world.spool.waiting():
            say(f"the spool still holds {world.spool.waiting()}")
        for name in world.redis.keys("pl:*"):
            kept = name == b"pl:batches" or name.endswith((b":halves", b":ended")) or b"pace" in name
            if world.redis.type(name) == b"zset" and not kept:
                say(f"left in {name.decode()}: {world.redis.zrange(name, 0, 3)}")

    def _indexes(self) -> Iterator[int]:
        for index in range(1, SUBMISSIONS + 1):
            yield index
            if self.scenario.isolates:  # files 0 and 1, which go on in halves of their own, and file 2
                first, second = halves_of(index)
                yield from (first, *halves_of(first), second)

    def _judge_record(self, item: str, part: Part) -> None:
        record = part.record
        if item in self.refused and not any(
            run.external_id == external_id(item) for run in self.world.provider.runs.values()
        ):
            if (record["outcome"], record["run_id"]) != ("failed", None):
                self.problems.append(f"I6: {item} was refused, its record says {record['outcome']}")
            return
        run = self.world.provider.runs.get(str(record["run_id"]))
        names = [path.partition("/")[2] for path in record["files"]]
        fails = self.scenario.isolates and POISON in names
        wanted = Outcome.FAILED if fails else Outcome.SUCCEEDED
        if run is None or run.external_id != external_id(item) or record["outcome"] != wanted.value:
            self.problems.append(f"I6: the record of {item} says {record['run_id']} {record['outcome']}")
        elif fails and record["reason"] != ("run_failed" if len(names) == 1 else "split"):
            self.problems.append(f"the record of {item} says {record['reason']} of {names}")
        elif record["data"].get("names", {}).get("value") != names:
            self.problems.append(f"I12: the record of {item} has other data: {record['data']}")

    def _judge_pace(self) -> None:
        if self.put_back and self.scenario.durable:
            return  # the permits of what was forgotten are forgotten too, until that is noticed
        times = sorted(at for at, _ in self.world.provider.arrivals)
        for at, later in itertools.pairwise(times):
            if later - at < RATE.window_s:
                self.problems.append(f"I3: two requests {later - at:.3f} s apart")

    def _judge_journal(self) -> None:
        last: dict[str, int] = {}
        for row in self.world.views.journal(self.batch):
            source = State(row["from"]) if row["from"] else None
            if row["verb"] == "duplicate":
                self.problems.append(f"I1: a duplicate in the journal: {row}")
                continue
            if not allows(Verb(row["verb"]), source, State(row["to"])):
                self.problems.append(f"I7: {row['verb']} from {source} to {row['to']}")
            if int(row["generation"]) <= last.get(row["submission"], 0):
                self.problems.append(f"I7: generation {row['generation']} again")
            last[row["submission"]] = int(row["generation"])


def effects(client: Any, scenario: Scenario) -> int:
    """Count the effects of a run in which nothing crashes."""
    trial = Trial(client, scenario, {})
    problems = trial.run()
    assert problems == [], (scenario.name, problems)
    return len(trial.seam.names)


def singles(number: int) -> Iterator[Schedule]:
    """Give every schedule with one thing going wrong."""
    for at in range(number):
        for mode in SIMPLE:
            yield {at: mode}


PAIRED = (
    (Mode.CUT_AFTER, Mode.CRASH_BEFORE),
    (Mode.STALL, Mode.CRASH_AFTER),
    (Mode.CRASH_BEFORE, Mode.STALL),
    (Mode.STALL, Mode.CUT_AFTER),
)


def crash_pairs(number: int) -> Iterator[Schedule]:
    """Give every schedule with two crashes. After the first the count goes on, so the second may be past `number`."""
    for first in range(number):
        for second in range(first + 1, number + 12):
            yield {first: Mode.CRASH_AFTER, second: Mode.CRASH_AFTER}


def mixed_pairs(number: int) -> list[Schedule]:
    """Give every schedule with two different things going wrong."""
    places = [(first, second) for first in range(number) for second in range(first + 1, number + 12)]
    return [{first: one, second: other} for first, second in places for one, other in PAIRED]


def put_backs(number: int) -> Iterator[Schedule]:
    """Give every schedule in which Redis loses everything since an earlier effect."""
    for saved in range(number):
        for back in range(saved + 1, number):
            for mode in PUTTING_BACK:
                yield {saved: Mode.SAVE, back: mode}


def some(schedules: Iterable[Schedule], most: int, seed: int) -> list[Schedule]:
    """Choose among schedules, the same ones for the same seed."""
    every = list(schedules)
    return random.Random(seed).sample(every, min(most, len(every)))


def violations(client: Any, scenario: Scenario, schedule: Schedule) -> list[str]:
    """Run one schedule; return what doesn't hold, each with the schedule that shows it."""
    trial = Trial(client, scenario, schedule)
    found = trial.run()
    names = dict(enumerate(trial.seam.names))
    shown = ", ".join(f"{mode} {at} ({names.get(at, 'not reached')})" for at, mode in schedule.items())
    return [f"{scenario.name}; {shown}: {problem}" for problem in found]

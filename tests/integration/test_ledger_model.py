"""The scripts against an oracle: any sequence of verbs, with right and stale generations, on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from paceline import redis_keys as keys
from paceline.lifecycle import Verb, allows
from paceline.limiter import PacePolicy
from paceline.model import EndpointClass, ErrorNote, Outcome, Rate, RunView, State, submission_id
from paceline.replies import Begun, Duplicate, Ending, Lost, Moved, Wait
from tests.support.world import SERVER_KEY, World

RATE = Rate(3, 60.0)
RATES = dict.fromkeys(EndpointClass, RATE)
NUMBER = 3
SUBMISSIONS = st.integers(1, NUMBER)
STALE = st.sampled_from([False] * 5 + [True])


class Oracle:
    """What a submission must be, by the table alone."""

    def __init__(self) -> None:
        self.state = State.PLANNED
        self.generation = 1
        self.attempt = 0
        self.run_id: str | None = None
        self.looks = 0
        self.server = "first"
        self.late = False
        self.failed = False  # and may be retried
        self.past: list[str] = []

    def move(self, state: State) -> None:
        self.state = state
        self.generation += 1
        if state is not State.EXPORTED:
            self.failed = False

    def plan_again(self, server: str) -> None:
        self.move(State.PLANNED)
        self.server = server

    def doubt(self, forgotten: int) -> None:
        self.generation = max(self.generation, forgotten + 1000)
        self.move(State.UNCERTAIN)
        self.looks = 0


class LedgerMachine(RuleBasedStateMachine):
    """Verbs in any order. The oracle decides which of them may have an effect."""

    client: Any

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.world = World(self.client, pace=PacePolicy(durable=False, watch_clock=False))
        self.server = "first"
        self.blocked_until = 0.0
        self.batch = self.world.plan(NUMBER)
        self.oracles = {index: Oracle() for index in range(1, NUMBER + 1)}
        self.grants: list[float] = []
        self.next_run = 100

    @initialize()
    def released(self) -> None:
        self.world.ledger.release("fake", RATES, window=NUMBER, lease_s=30.0)

    def which(self, index: int, stale: bool) -> tuple[str, int, Oracle]:
        oracle = self.oracles[index]
        return submission_id(self.batch, index), oracle.generation - int(stale), oracle

    @rule(seconds=st.sampled_from([0.0, 0.5, 10.0, 31.0, 61.2]))
    def time_goes_on(self, seconds: float) -> None:
        self.world._tick(seconds)

    @rule(index=SUBMISSIONS)
    def plan_again(self, index: int) -> None:
        before = self.world.views.submission(submission_id(self.batch, index))
        self.world.plan(index)
        assert self.world.views.submission(before.id) == before

    @rule()
    def release(self) -> None:
        free = 0 if self.world.clock < self.blocked_until else RATE.limit - self.used()
        out = self.world.ledger.release("fake", RATES, window=NUMBER, lease_s=30.0)
        assert len(out.submissions) <= free
        assert all(self.oracles[int(one[-6:])].state is State.PLANNED for one in out.submissions)

    def used(self) -> int:
        window_s = self.world.context.limiter.policy.window_ms(RATE) / 1000
        return sum(1 for at in self.grants if at >= self.world.clock - window_s + 1e-6)

    @rule()
    def another_server(self) -> None:
        """Another Redis takes over; the first one to look for permits notices."""
        self.server = f"server{self.next_run}"
        self.next_run += 1
        self.client.set(SERVER_KEY, self.server)
        assert not self.world.ledger.release("fake", RATES, window=NUMBER, lease_s=30.0).submissions
        window_s = self.world.context.limiter.policy.window_ms(RATE) / 1000
        self.blocked_until = self.world.clock + window_s

    @rule(index=SUBMISSIONS, stale=STALE, forgotten=st.integers(2, 5), attempt=st.integers(1, 2))
    def doubt(self, index: int, stale: bool, forgotten: int, attempt: int) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.doubt(item, generation, forgotten=forgotten, attempt=attempt, over_s=90.0)
        if oracle.state in (State.PLANNED, State.UNCERTAIN) and not stale:
            assert isinstance(answer, Moved)
            oracle.doubt(forgotten)
            oracle.attempt = max(oracle.attempt, attempt)
            assert answer.generation == oracle.generation
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE)
    def begin(self, index: int, stale: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        free = 0 if self.world.clock < self.blocked_until else RATE.limit - self.used()
        answer = self.world.ledger.begin(item, generation, rate=RATE, worker="w", lease_s=90.0)
        if oracle.state is not State.PLANNED or stale:
            assert isinstance(answer, Lost)
        elif oracle.server != self.server:
            assert isinstance(answer, Moved)
            oracle.doubt(generation)
            oracle.server = self.server
        elif free < 1:
            assert isinstance(answer, Wait)
            assert answer.seconds > 0
        else:
            assert isinstance(answer, Begun)
            oracle.move(State.SUBMITTING)
            oracle.attempt += 1
            self.grants.append(self.world.clock)
            assert (answer.generation, answer.attempt) == (oracle.generation, oracle.attempt)

    @rule(index=SUBMISSIONS, goal=st.sampled_from([State.SUBMITTING, State.UNCERTAIN, State.RUNNING]))
    def drive(self, index: int, goal: State) -> None:
        """Take a planned submission to where the interesting things happen; chance alone seldom gets there."""
        if self.oracles[index].state is not State.PLANNED:
            return
        if self.used() >= RATE.limit or self.world.clock < self.blocked_until:
            self.time_goes_on(61.2)
        self.begin(index, False)
        if goal is State.UNCERTAIN:
            self.uncertain(index, False)
        elif goal is State.RUNNING and self.oracles[index].run_id is None:
            self.accepted(index, False, False)

    @rule(index=SUBMISSIONS, late=STALE, same_run=st.booleans())
    def accepted(self, index: int, late: bool, same_run: bool) -> None:
        item, _, oracle = self.which(index, False)
        attempt = oracle.attempt - int(late)
        run_id = oracle.run_id if same_run and oracle.run_id else str(self.next_run)
        self.next_run += 1
        view = RunView(run_id, None, "running", None)
        answer = self.world.ledger.accepted(item, view, attempt=attempt, first_poll_s=1.5)
        if run_id == oracle.run_id:
            assert isinstance(answer, Moved)
            return
        open_states = (State.SUBMITTING, State.UNCERTAIN, State.PLANNED, State.HELD)
        if oracle.run_id is None and oracle.state in open_states:
            assert isinstance(answer, Moved)
            usual = oracle.state in (State.SUBMITTING, State.UNCERTAIN) and attempt == oracle.attempt
            last = list(self.world.views.journal(self.batch, item))[-1]
            assert last["verb"] == ("accepted" if usual else "adopt")
            oracle.run_id = run_id
            oracle.attempt = max(oracle.attempt, 1)  # whoever has a run has been sent
            oracle.move(State.RUNNING)
        else:
            assert isinstance(answer, Duplicate)

    @rule(index=SUBMISSIONS, stale=STALE, unused=st.booleans())
    def put_back(self, index: int, stale: bool, unused: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.put_back(item, generation, reason="test", unused=unused)
        if oracle.state is State.SUBMITTING and not stale:
            assert isinstance(answer, Moved)
            oracle.plan_again(oracle.server)
            oracle.attempt -= 1
            if unused:
                self.grants = self.grants[:0] + self.granted_now()
        else:
            assert isinstance(answer, Lost)

    def granted_now(self) -> list[float]:
        log = self.client.zrange(keys.pace_log("fake", "add"), 0, -1, withscores=True)  # type: ignore[arg-type]  # the enum's own text
        return [score / 1000 for _, score in log]

    @rule(index=SUBMISSIONS, stale=STALE)
    def uncertain(self, index: int, stale: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.uncertain(item, generation, reason="test", first_look_s=0.5)
        if oracle.state is State.SUBMITTING and not stale:
            assert isinstance(answer, Moved)
            oracle.move(State.UNCERTAIN)
            oracle.looks = 0
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE, counts=st.booleans())
    def absent(self, index: int, stale: bool, counts: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.absent(item, generation, counts=counts, needed=2, next_look_s=1.0, apart_s=0.0)
        if oracle.state is not State.UNCERTAIN or stale:
            assert isinstance(answer, Lost)
            return
        if oracle.server != self.server:  # a newer request than this server knows may be under way
            assert answer == 0
            oracle.doubt(oracle.generation)
            oracle.server = self.server
            return
        oracle.looks += int(counts)
        if oracle.looks >= 2:
            assert isinstance(answer, Moved)
            oracle.plan_again(self.server)
            oracle.looks = 0
        else:
            assert answer == oracle.looks

    @rule(index=SUBMISSIONS, stale=STALE)
    def hold(self, index: int, stale: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.hold(item, generation, reason="test")
        if oracle.state in (State.UNCERTAIN, State.PLANNED) and not stale:
            assert isinstance(answer, Moved)
            oracle.move(State.HELD)
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE, again=st.booleans())
    def decide(self, index: int, stale: bool, again: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        if again:
            answer = self.world.ledger.resubmit(item, generation, reason="test")
        else:
            answer = self.world.ledger.give_up(
                item, generation, reason="test", error=ErrorNote("request", "submit", "no")
            )
        if (oracle.state is State.HELD or (again and oracle.state is State.UNCERTAIN)) and not stale:
            assert isinstance(answer, Moved)
            if again:
                oracle.plan_again(self.server)
            else:
                oracle.move(State.FINISHED)
                oracle.late, oracle.failed = False, True
            oracle.looks = 0
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE)
    def reject(self, index: int, stale: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.reject(item, generation, reason="test", error=ErrorNote("request", "submit", "no"))
        if oracle.state in (State.SUBMITTING, State.PLANNED) and not stale:
            assert isinstance(answer, Moved)
            oracle.move(State.FINISHED)
            oracle.late, oracle.failed = False, True
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE, late=st.booleans(), failed=st.booleans())
    def finish(self, index: int, stale: bool, late: bool, failed: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        view = RunView(oracle.run_id or "1", None, "success", Outcome.SUCCEEDED, credits=2.0)
        end = Ending(item, generation, Outcome.SUCCEEDED, "completed", None, view)
        if failed:
            end = Ending(item, generation, Outcome.FAILED, "run_failed", ErrorNote("provider", "run", "no"), view)
        if late:
            end = Ending(item, generation, Outcome.FAILED, "timed_out", ErrorNote("timeout", "run", "late"), view)
        (answer,) = self.world.ledger.finish([end])
        if oracle.state is State.RUNNING and not stale:
            assert isinstance(answer, Moved)
            oracle.move(State.FINISHED)
            oracle.late = late
            oracle.failed = failed and not late
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE)
    def collect(self, index: int, stale: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.collect(item, generation)
        if oracle.state is State.EXPORTED and oracle.late and not stale:
            assert isinstance(answer, Moved)
            oracle.move(State.RUNNING)
            oracle.late = False
            assert not self.world.views.batch(self.batch).closed
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE)
    def retry(self, index: int, stale: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.retry(item, generation, reason="test")
        failed = oracle.state in (State.FINISHED, State.EXPORTED) and oracle.failed
        if failed and not stale:
            assert isinstance(answer, Moved)
            oracle.past += [oracle.run_id] if oracle.run_id else []
            oracle.run_id, oracle.looks = None, 0
            oracle.move(State.PLANNED)  # in the life of Redis that it had: it may have been retried in a lost one
        else:
            assert isinstance(answer, Lost)

    @rule(index=SUBMISSIONS, stale=STALE)
    def exported(self, index: int, stale: bool) -> None:
        item, generation, oracle = self.which(index, stale)
        answer = self.world.ledger.exported(item, generation)
        if oracle.state is State.FINISHED and not stale:
            assert isinstance(answer, Moved)
            oracle.move(State.EXPORTED)
        else:
            assert isinstance(answer, Lost)

    @precondition(lambda self: all(oracle.state is State.EXPORTED for oracle in self.oracles.values()))
    @rule()
    def close(self) -> None:
        self.world.ledger.close_batch(self.batch)
        assert self.world.views.batch(self.batch).closed

    @invariant()
    def the_ledger_is_what_the_oracle_says(self) -> None:
        for index, oracle in self.oracles.items():
            item = self.world.views.submission(submission_id(self.batch, index))
            assert (item.state, item.generation) == (oracle.state, oracle.generation)
            assert (item.attempt, item.run_id) == (oracle.attempt, oracle.run_id)
            assert list(item.past) == oracle.past

    @invariant()
    def every_counter_is_the_number_of_submissions_in_that_state(self) -> None:
        counted = self.world.views.batch(self.batch).by_state
        for state in State:
            assert counted[state] == sum(1 for oracle in self.oracles.values() if oracle.state is state)

    @invariant()
    def what_was_counted_at_an_end_is_counted_once(self) -> None:
        batch = self.world.views.batch(self.batch)
        ended = sum(1 for oracle in self.oracles.values() if oracle.state in (State.FINISHED, State.EXPORTED))
        assert sum(batch.outcomes.values()) == ended
        assert sum(batch.files_by_outcome.values()) == 3 * ended

    @invariant()
    def every_submission_stands_in_the_one_list_of_its_state(self) -> None:
        homes = {
            State.SUBMITTING: [keys.LEASES],
            State.UNCERTAIN: [keys.uncertain("fake", "7")],
            State.RUNNING: [keys.due("fake", "7")],
            State.FINISHED: [keys.EXPORTS],
            State.HELD: [keys.HELD],
            State.PLANNED: [keys.planned(self.batch), keys.released("fake")],
        }
        for state, lists in homes.items():
            found = sorted(member.decode() for name in lists for member in self.client.zrange(name, 0, -1))
            wanted = sorted(
                submission_id(self.batch, index) for index, one in self.oracles.items() if one.state is state
            )
            assert found == wanted, state

    def teardown(self) -> None:
        """Every step in the journal is one of the table, and generations only grow."""
        last: dict[str, int] = {}
        for row in self.world.views.journal(self.batch):
            if row["verb"] == "duplicate":
                continue
            source = State(row["from"]) if row["from"] else None
            assert allows(Verb(row["verb"]), source, State(row["to"])), row
            step = int(row["generation"]) - last.get(row["submission"], 0)
            assert step == 1 or (step > 1 and row["verb"] == "doubt")
            last[row["submission"]] = int(row["generation"])


def run_machine(client: Any, examples: int) -> None:
    """Run the machine on a client."""
    LedgerMachine.client = client
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_scripts_do_what_the_table_says(real_redis: redis.Redis) -> None:
    run_machine(real_redis, 80)


@pytest.mark.parametrize("folder", ["lua"])
def test_every_script_says_what_it_takes_and_returns(folder: str) -> None:
    shared = {"chains.lua", "circuit.lua", "ledger.lua", "pace.lua", "clock_redis.lua", "clock_key.lua"}
    for path in sorted((Path(__file__).parents[2] / "paceline" / folder).glob("*.lua")):
        text = path.read_text()
        assert path.name in shared or all(word in text for word in ("-- KEYS", "-- ARGV", "-- RETURNS")), path.name

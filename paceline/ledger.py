"""The one store of state: each verb is one method, one script, one atomic step.

Losing a race is normal: a verb that comes from a stale generation, or for a state that has moved on, returns `Lost`
(or False) and has had no effect. A connection that breaks before the reply raises redis-py's error; the step may have
happened, and doing it again is safe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from redis import Redis

from paceline import halving
from paceline import redis_keys as keys
from paceline.decisions import Decisions
from paceline.desk import finish_args, finished
from paceline.errors import BatchForgotten, UnknownBatch
from paceline.isolation import Isolation
from paceline.lifecycle import Verb
from paceline.limiter import PacePolicy
from paceline.model import (
    BatchSpec,
    EndpointClass,
    ErrorNote,
    Follow,
    Outcome,
    PlannedSubmission,
    Rate,
    RunView,
    State,
    Step,
    batch_of,
    external_id,
    submission_id,
)
from paceline.packing import pack_files
from paceline.replies import Begun, Due, DueRun, Duplicate, Ending, Lost, Moved, Paused, Released, Restored, Wait
from paceline.scripts import Arg, Scripts

_PATHS = ("utf-8", "surrogateescape")
"""How paths, which may hold any bytes, stand in Redis."""

STARTING = (EndpointClass.ADD, EndpointClass.WAIT)
"""The classes of requests that start a run, in the order in which `lua/release.lua` takes them."""


class Ledger(Decisions, Isolation):
    """Every change of state. Thread-safe; holds nothing between calls but immutable facts of batches."""

    def __init__(self, redis: Redis, scripts: Scripts, pace: PacePolicy) -> None:
        super().__init__(redis, scripts)
        self._pace = pace

    # -- planning ---------------------------------------------------------------------------------------------------

    def open_batch(self, spec: BatchSpec, *, manifest: str, rebuilding: str = "") -> bool:
        """Register a batch; return False if it was known (then nothing changes).

        `rebuilding` registers it paused, with this message, and not to be planned by anybody else, until `rebuilt`.
        Raises `BatchForgotten`; one that is rebuilt comes back once its removal is through.
        """
        batch = spec.batch_id()
        facts: dict[str, Arg] = {
            "name": spec.name,
            "source": spec.source.encode(*_PATHS),
            "account": spec.account,
            "provider": spec.provider,
            "agent": spec.agent,
            "address": spec.address,
            "to": json.dumps(spec.to),
            "files_per_run": spec.files_per_run,
            "options": json.dumps(dict(spec.options)),
            "settled": json.dumps(dict(spec.settled)),
            **{f"choice:{name}": value for name, value in spec.choices.items()},
            "priority": spec.priority,
            "manifest": manifest.encode(*_PATHS),
            "total": 0,
        }
        if rebuilding:
            facts |= {"rebuilding": 1, "paused": "rebuilding", "paused_message": rebuilding.encode(*_PATHS)}
        args: list[Arg] = [batch, spec.account, spec.address, int(bool(rebuilding))]
        for name, value in facts.items():
            args += [name, value]
        wanted = [keys.batch(batch), keys.BATCHES, keys.ACCOUNTS, keys.account(spec.account)]
        new = int(self._scripts.run("open_batch", [*wanted, keys.REMOVING, keys.FORGOTTEN], args))
        if new < 0:
            how = "its removal isn't through: paceline gc" if new == -2 else "its results are in its output"
            raise BatchForgotten(f"batch {batch} was complete, and removed from the ledger by paceline gc; {how}")
        return bool(new)

    def plan(
        self,
        batch: str,
        planned: PlannedSubmission,
        *,
        manifest_bytes: int,
        skipped: int = 0,
        in_doubt: bool = False,
        sending_s: float = 0.0,
    ) -> Moved | Lost:
        """Register a submission; `Lost` if it was known. `manifest_bytes` is the manifest's length up to and with it,
        `skipped` the number of skipped files in there.

        `in_doubt` plans it as uncertain, so that the provider is asked before anything is sent: for batches whose
        ledger was lost. For `sending_s` from now somebody may still be sending it; only then it begins to settle.
        Raises `UnknownBatch`.
        """
        call = self._plan_call(batch, planned, manifest_bytes, skipped, in_doubt, sending_s)
        return self._planned(batch, self._scripts.run("plan", *call), in_doubt)

    def plan_all(self, batch: str, planned: Sequence[tuple[PlannedSubmission, int, int]]) -> list[Moved | Lost]:
        """Register submissions in order, in one round trip, as `plan` does each: with `manifest_bytes` and `skipped`.

        Where the connection breaks, or the server refuses one, the first so many are registered. Raises `UnknownBatch`.
        """
        calls = [self._plan_call(batch, one, length, skipped) for one, length, skipped in planned]
        return [self._planned(batch, row) for row in self._scripts.run_many("plan", calls)]

    def _plan_call(
        self,
        batch: str,
        planned: PlannedSubmission,
        manifest_bytes: int,
        skipped: int,
        in_doubt: bool = False,
        sending_s: float = 0.0,
    ) -> tuple[list[str], list[Arg]]:
        submission = submission_id(batch, planned.index)
        state = State.UNCERTAIN if in_doubt else State.PLANNED
        args: list[Arg] = [submission, "", len(planned.files), planned.size_bytes, pack_files(planned.files)]
        args += [manifest_bytes, skipped, state.value, round(sending_s * 1000)]
        return [*self._way(submission), keys.files(submission), keys.halves(batch)], args

    def _planned(self, batch: str, row: Sequence[int], in_doubt: bool = False) -> Moved | Lost:
        new, wake, generation = row
        if int(new) < 0:
            raise UnknownBatch(f"no batch {batch}")
        if not new:
            return Lost()
        step = Step.RECONCILE if in_doubt else Step.FEED
        return Moved(int(generation), self._follow(step, batch, int(wake)))

    def restore(
        self, batch: str, planned: PlannedSubmission, ended: Restored, *, manifest_bytes: int, skipped: int = 0
    ) -> bool:
        """Register a submission that every sink holds, as exported; False if it was known. Raises `UnknownBatch`."""
        item = submission_id(batch, planned.index)
        args: list[Arg] = [item, "", len(planned.files), planned.size_bytes, pack_files(planned.files)]
        args += [manifest_bytes, skipped, ended.outcome.value, ended.reason, ended.attempts]
        args += [ended.run_id or "", ended.run_url or "", json.dumps(ended.error) if ended.error else ""]
        args += ["" if fact is None else fact for fact in (ended.raw_status, ended.credits)]
        args += [ended.planned_ms, *("" if ms is None else ms for ms in (ended.submitted_ms, ended.finished_ms))]
        args += [external_id(item), int(ended.reason == halving.REASON)]
        new = int(self._scripts.run("restore", [*self._way(item), keys.files(item), keys.halves(batch)], args))
        if new < 0:
            raise UnknownBatch(f"no batch {batch}")
        return new == 1

    def listed(self, batch: str, *, skipped: int, manifest_bytes: int) -> Follow | None:
        """Note that the listing is complete; if nothing is left to do, the batch closes."""
        args: list[Arg] = [batch, skipped, manifest_bytes]
        wake = self._scripts.run("listed", [keys.batch(batch), keys.CHAINS], args)
        return self._follow(Step.CLOSE, batch, int(wake))

    # -- submitting -------------------------------------------------------------------------------------------------

    def release(self, account: str, rates: Mapping[EndpointClass, Rate], *, window: int, lease_s: float) -> Released:
        """Release the next planned submissions of an account, at most as many as permits are free."""
        wanted = [keys.account(account), keys.feed(account), keys.released(account)]
        args: list[Arg] = [window, round(lease_s * 1000), keys.planned("%s"), keys.batch("%s")]
        for endpoint in STARTING:
            wanted += [keys.pace_log(account, endpoint), keys.pace_state(account, endpoint)]
            args += self._pace.args(rates[endpoint])
        again, *ids = self._scripts.run("release", wanted, args)
        return Released(tuple(item.decode() for item in ids), None if int(again) < 0 else int(again) / 1000)

    def release_again(self, account: str) -> Follow | None:
        """Let the feed release again, at once, what is released and not begun; None where there is nothing to wake."""
        wanted = [keys.released(account), keys.CHAINS]
        wake = int(self._scripts.run("released_again", wanted, [f"{Step.FEED}:{account}"]))
        return None if wake < 0 else Follow(Step.FEED, account, wake / 1000)

    def begin(
        self,
        submission: str,
        generation: int,
        *,
        rate: Rate,
        worker: str,
        lease_s: float,
        token: str = "",
        can_ask: bool = True,
        endpoint: EndpointClass = EndpointClass.ADD,
    ) -> Begun | Wait | Paused | Moved | Lost:
        """Take a permit and write the intent to POST, both or neither.

        `endpoint` is the class of the request, `rate` its rate. After `lease_s` without a verb the submission counts as
        uncertain. `token` names this request, for `put_back`. `can_ask`: the provider tells whether it has a
        submission. `Moved` means uncertain: the ledger may have forgotten a request, see `lua/begin.lua`.
        """
        account, _ = self.place(batch_of(submission))
        pace = [keys.pace_log(account, endpoint), keys.pace_state(account, endpoint)]
        args: list[Arg] = [submission, generation, worker, round(lease_s * 1000), token, int(can_ask), endpoint.value]
        args += self._pace.args(rate)
        row = self._scripts.run("begin", [*self._way(submission), *pace], args)
        match row[0]:
            case b"granted":
                return Begun(int(row[1]), int(row[2]))
            case b"wait":
                return Wait(int(row[1]) / 1000, self._follow(Step.FEED, batch_of(submission), int(row[2])))
            case b"paused":
                return Paused(row[1].decode())
            case b"doubt":
                return Moved(generation, self._follow(Step.RECONCILE, batch_of(submission), int(row[1])))
            case _:
                return Lost()

    def accepted(
        self,
        submission: str,
        run: RunView,
        *,
        attempt: int | None,
        first_poll_s: float,
        digests: Sequence[bytes] = (),
        started_ms: int | None = None,
        permit_life_s: float | None = None,
    ) -> Moved | Duplicate | Lost:
        """Record a run as the submission's. Evidence is placed wherever the submission stands; see `lua/accepted.lua`.

        `attempt` is the sender's, None where the run was found by listing. With `permit_life_s`, this is the answer to
        a request of the class `add`, and ends the life of its permit.
        """
        args: list[Arg] = [submission, "", "" if attempt is None else attempt, run.run_id, run.run_url or ""]
        args += [round(first_poll_s * 1000), b"".join(digests), external_id(submission)]
        args += ["" if started_ms is None else started_ms, "" if run.credits is None else run.credits]
        args.append("" if permit_life_s is None else round(permit_life_s * 1000))
        log = keys.pace_log(self.place(batch_of(submission))[0], EndpointClass.ADD)
        row = self._scripts.run("accepted", [*self._way(submission), keys.digests(submission), log], args)
        match row[0]:
            case b"ok":
                batch = batch_of(submission)
                woken = self._follow(Step.POLL, batch, int(row[2])), self._follow(Step.FEED, batch, int(row[3]))
                return Moved(int(row[1]), *woken)
            case b"duplicate":
                return Duplicate(row[1].decode())
            case _:
                return Lost()

    def put_back(
        self,
        submission: str,
        generation: int,
        *,
        reason: str,
        unused: bool,
        throttled: bool = False,
        token: str = "",
        endpoint: str = EndpointClass.ADD,
    ) -> Moved | Lost:
        """Put a submission back to planned, without counting the attempt: the provider surely did nothing.

        `unused` hands the permit back too, because not a byte was sent. With `token`, only the request of that name.
        """
        account, _ = self.place(batch_of(submission))
        log = keys.pace_log(account, EndpointClass(endpoint))
        args: list[Arg] = [submission, generation, reason, int(unused), int(throttled), token]
        return self._moved("put_back", submission, args, Step.FEED, more=[log])

    def pause(
        self,
        submission: str,
        generation: int,
        *,
        reason: str,
        message: str,
        whole_account: bool = True,
        token: str = "",
    ) -> Moved | Lost:
        """Put a submission back and pause its account (or only its batch) until `resume`."""
        target = "account" if whole_account else "batch"
        return self._moved("pause", submission, [submission, generation, reason, message, target, token])

    def uncertain(
        self, submission: str, generation: int, *, reason: str, first_look_s: float, token: str = ""
    ) -> Moved | Lost:
        """Record that a POST was begun and its outcome isn't known."""
        args: list[Arg] = [submission, generation, reason, round(first_look_s * 1000), token]
        return self._moved("uncertain", submission, args, Step.RECONCILE)

    def doubt(self, submission: str, generation: int, *, forgotten: int, attempt: int, over_s: float) -> Moved | Lost:
        """Take a submission for uncertain (again): a request of generation `forgotten` was begun and is not on record.

        After `over_s` that request has surely ended.
        """
        args: list[Arg] = [submission, generation, forgotten, attempt, round(over_s * 1000)]
        return self._moved("doubt", submission, args, Step.RECONCILE)

    def absent(
        self,
        submission: str,
        generation: int,
        *,
        counts: bool,
        needed: int,
        next_look_s: float,
        apart_s: float,
        lease_s: float = 0.0,
    ) -> Moved | Lost | int:
        """Record a look that did not find the submission; return the looks that count so far, or `Moved` when proven.

        Looks less than `apart_s` apart count once. A request begun now has surely ended after `lease_s`.
        """
        args: list[Arg] = [
            submission,
            generation,
            int(counts),
            needed,
            round(next_look_s * 1000),
            round(apart_s * 1000),
            round(lease_s * 1000),
            int(self._pace.durable),
        ]
        row = self._scripts.run("absent", self._way(submission), args)
        match row[0]:
            case b"absent":
                return Moved(int(row[1]), self._follow(Step.FEED, batch_of(submission), int(row[2])))
            case b"looked":
                return int(row[1])
            case _:
                return Lost()

    def hold(self, submission: str, generation: int, *, reason: str) -> Moved | Lost:
        """Stop a submission until a person decides."""
        return self._moved("hold", submission, [submission, generation, reason])

    def reject(
        self, submission: str, generation: int, *, reason: str, error: ErrorNote, token: str = ""
    ) -> Moved | Lost:
        """Finish a submission that can't work as it is."""
        end = Ending(submission, generation, Outcome.FAILED, reason, error)
        args = [*finish_args(end, Verb.REJECT, (State.PLANNED, State.SUBMITTING)), token]
        return finished(end, self._scripts.run("finish", self._way(submission), args))

    # -- following --------------------------------------------------------------------------------------------------

    def take_due(
        self,
        account: str,
        agent: str,
        *,
        rate: Rate,
        most: int,
        slack_s: float,
        lease_s: float,
        endpoint: EndpointClass,
    ) -> Due:
        """Take up to `most` runs that are due, with one permit to ask after them."""
        wanted = [keys.due(account, agent), keys.runs(account, agent)]
        wanted += [keys.pace_log(account, endpoint), keys.pace_state(account, endpoint)]
        wanted += [keys.pace_log(account, EndpointClass.ADD), keys.gap(account, agent)]
        args: list[Arg] = [most, round(slack_s * 1000), round(lease_s * 1000), *self._pace.args(rate)]
        status, wait, flight, starts, now, *rows = self._scripts.run("take_due", wanted, args)
        now_ms = int(now)
        runs = []
        for id_, packed in zip(rows[::2], rows[1::2], strict=True):
            run_id, generation, started, late = packed.decode().split("\n")
            age_s = (now_ms - int(started)) / 1000
            runs.append(DueRun(id_.decode(), run_id, int(generation), age_s, int(late) / 1000))
        again = None if status == b"idle" else int(wait) / 1000
        return Due(tuple(runs), again, int(flight), int(starts) / 10, now_ms / 1000)

    def snooze(self, account: str, agent: str, dues_s: Mapping[str, float], *, not_before_s: float) -> float | None:
        """Set the next due times of runs (Redis time, seconds); return the agent's earliest, None if nothing runs."""
        args: list[Arg] = [round(not_before_s * 1000)]
        for submission, due_s in dues_s.items():
            args += [round(due_s * 1000), submission]
        earliest = int(self._scripts.run("snooze", [keys.due(account, agent), keys.gap(account, agent)], args))
        return None if earliest < 0 else earliest / 1000

    def finish(self, endings: Sequence[Ending]) -> list[Moved | Lost]:
        """Record the ends of runs, in one round trip. The first end of each stays."""
        return self._finish(endings, Verb.FINISH, (State.RUNNING,))

    def exported(self, submission: str, generation: int) -> Moved | Lost:
        """Record that every sink holds the submission durably."""
        return self.exported_all([(submission, generation)])[0]

    def exported_all(self, ids: Sequence[tuple[str, int]]) -> list[Moved | Lost]:
        """Record that for several submissions, each with its generation, in one round trip."""
        calls: list[tuple[list[str], list[Arg]]] = [
            ([*self._way(item), keys.digests(item)], [item, generation]) for item, generation in ids
        ]
        rows = self._scripts.run_many("exported", calls)
        return [self._as_moved(row, item, Step.CLOSE) for (item, _), row in zip(ids, rows, strict=True)]

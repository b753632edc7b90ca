"""Judges a batch by what others wrote down: the sandbox's log and runs, the manifest, the journal, the output.

Pure, and deaf to the product's own counters. What must hold, by the numbers that problems begin with:

    I1   every submission is accepted once, and nothing else is
    I2   every file of the manifest is in one file record, with its submission's outcome; no other file is
    I3   no window of the limit sees more requests than allowed, refused ones included
    I5   every planned submission has one record
    I6   a recorded run was accepted for that submission, and its outcome and results are the provider's
    I7   generations grow by one, transitions are those of the table, alarms there are none
    I11  no request without an intent
    I12  every request of one submission has the same content
    I15  a command ends with 0 if everything succeeded, with 1 if something failed, and then `_SUCCESS` is there
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paceline.lifecycle import Verb, allows
from paceline.model import State

Row = Mapping[str, Any]

OUTCOMES = {"success": "succeeded", "failed": "failed"}
"""The provider's last words, and what the records must say."""

STOPPED = 6
"""How a command may end when Redis, or one worker too often, is killed under it: it asks for the same command again."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A command that ended by itself: its verb, its exit code, and whether `_SUCCESS` was there by then."""

    verb: str
    code: int
    success: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a batch left behind.

    `requests` is the sandbox's log, oldest first; `runs` what the provider lists at the end; `manifest`, `results`,
    `files` and `failures` the lines of those files; `journal` the batch's stream, in order; `digests` the SHA-256 of
    each file on disk by its path. `limit` requests to the add endpoint may arrive in any `window_s` seconds.
    """

    batch: str
    requests: Sequence[Row]
    runs: Sequence[Row]
    manifest: Sequence[Row]
    journal: Sequence[Row]
    results: Sequence[Row]
    files: Sequence[Row]
    failures: Sequence[Row]
    digests: Mapping[str, str]
    endings: Sequence[Ending]
    limit: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What a batch came to. `max_window` is the most arrivals at the add endpoint in any window of the limit."""

    planned: int = 0
    accepted: int = 0
    unique: int = 0
    duplicates: int = 0
    lost: int = 0
    held: int = 0
    exported: int = 0
    max_window: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.planned + other.planned,
            self.accepted + other.accepted,
            self.unique + other.unique,
            self.duplicates + other.duplicates,
            self.lost + other.lost,
            self.held + other.held,
            self.exported + other.exported,
            max(self.max_window, other.max_window),
        )

    def __str__(self) -> str:
        return (
            f"planned={self.planned} accepted={self.accepted} unique={self.unique} duplicates={self.duplicates}"
            f" lost={self.lost} held={self.held} exported={self.exported} max_window={self.max_window}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The totals, and every way in which the evidence differs from what must hold: none is what one wants."""

    totals: Totals
    problems: Sequence[str]


def check(evidence: Evidence) -> Verdict:
    """Hold the evidence against the invariants."""
    case = _Case(evidence)
    problems = [problem for part in _PARTS for problem in part(case)]
    return Verdict(case.totals, problems)


class _Case:
    """The evidence in the order in which the checks ask for it."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.planned: dict[str, list[Row]] = defaultdict(list)
        for row in evidence.manifest:
            if row["submission"] is not None:
                self.planned[row["submission"]].append(row)
        self.posts = [row for row in evidence.requests if row["class"] == "add" and row["method"] == "POST"]
        self.accepted: dict[str, list[int]] = defaultdict(list)
        for row in self.posts:
            if row["run_id"] is not None:
                self.accepted[str(row["external_id"])].append(row["run_id"])
        self.records: dict[str, list[Row]] = defaultdict(list)
        for row in evidence.results:
            self.records[row["submission"]].append(row)
        self.last_state: dict[str, str] = {row["submission"]: row["to"] for row in evidence.journal}
        held = [one for one in self.planned if self.last_state.get(one) == State.HELD]
        without = [one for one in self.planned if one not in self.records and one not in held]
        recorded = {row["external_id"] for row in evidence.results}
        self.unrecorded = [run for run in evidence.runs if run["user_defined_id"] not in recorded]
        self.totals = Totals(
            planned=len(self.planned),
            accepted=sum(map(len, self.accepted.values())),
            unique=len(self.accepted),
            duplicates=sum(len(run_ids) > 1 for run_ids in self.accepted.values()),
            lost=len(without) + len(self.unrecorded),
            held=len(held),
            exported=len(self.records),
            max_window=busiest([row["t"] for row in self.posts], evidence.window_s),
        )
        self.without = without

    def external(self, submission: str) -> str:
        """Name a submission as the provider should know it."""
        return f"{self.evidence.batch}.{submission}"


def busiest(times_s: Iterable[float], window_s: float) -> int:
    """Count the most arrivals in any half-open window."""
    ordered = sorted(times_s)
    first = most = 0
    for last, time_s in enumerate(ordered):
        while time_s - ordered[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def _one_payment(case: _Case) -> Iterator[str]:
    wanted = {case.external(one) for one in case.planned}
    for external, run_ids in sorted(case.accepted.items()):
        if len(run_ids) > 1:
            yield f"I1 {external} was accepted {len(run_ids)} times: runs {run_ids}"
        if external not in wanted:
            yield f"I1 {external} was paid for, but the manifest doesn't know it"
    for external in sorted(wanted - set(case.accepted)):
        yield f"I1 {external} was never accepted"
    logged = Counter(run_id for run_ids in case.accepted.values() for run_id in run_ids)
    listed = Counter(run["run_id"] for run in case.evidence.runs)
    if logged != listed:
        yield f"I1 log and list of the provider disagree about runs {sorted((logged - listed) + (listed - logged))}"


def _nothing_lost(case: _Case) -> Iterator[str]:
    for submission in case.without:
        yield f"lost: {submission} is neither exported nor held; it stands at {case.last_state.get(submission)}"
    for run in case.unrecorded:
        yield f"lost: run {run['run_id']} of {run['user_defined_id']} has no record"
    for submission in case.planned:
        if case.last_state.get(submission) == State.HELD:
            yield f"held: {submission}, though this provider can always be asked"


def _every_file_once(case: _Case) -> Iterator[str]:
    rows = Counter(row["path"] for row in case.evidence.files)
    planned = Counter(row["path"] for row in case.evidence.manifest)
    for path in sorted(set(rows) | set(planned) | set(case.evidence.digests)):
        found = (rows[path], planned[path], int(path in case.evidence.digests))
        if found != (1, 1, 1):
            yield f"I2 {path!r}: {found[0]} file records, {found[1]} manifest lines, {found[2]} files on disk"
    home = {row["path"]: row["submission"] for row in case.evidence.manifest}
    outcomes = {row["submission"]: row["outcome"] for row in case.evidence.results}
    for row in case.evidence.files:
        path, digest = row["path"], row["sha256"]
        if row["submission"] != home.get(path) or row["outcome"] != outcomes.get(row["submission"]):
            yield f"I2 {path!r} is recorded as {row['outcome']} of {row['submission']}"
        if digest is not None and digest != case.evidence.digests.get(path):
            yield f"I2 {path!r} is recorded with another digest than the file's"


def _pace(case: _Case) -> Iterator[str]:
    evidence = case.evidence
    if case.totals.max_window > evidence.limit:
        yield f"I3 {case.totals.max_window} requests in {evidence.window_s:g} s, allowed are {evidence.limit}"


def _one_record_each(case: _Case) -> Iterator[str]:
    for submission in sorted(set(case.planned) | set(case.records)):
        number = len(case.records.get(submission, ()))
        if number != 1 or submission not in case.planned:
            yield f"I5 {submission} has {number} records; planned: {submission in case.planned}"
    failed = [row["submission"] for row in case.evidence.results if row["outcome"] != "succeeded"]
    if failed != [row["submission"] for row in case.evidence.failures]:
        yield "I5 failures.jsonl isn't the failed part of results.jsonl"


def _the_providers_word(case: _Case) -> Iterator[str]:
    runs = {str(run["run_id"]): run for run in case.evidence.runs}
    for record in case.evidence.results:
        submission, run = record["submission"], runs.get(record["run_id"])
        if run is None or run["user_defined_id"] != case.external(submission):
            yield f"I6 {submission} is recorded with run {record['run_id']}, which isn't its own"
            continue
        if record["outcome"] != OUTCOMES.get(run["status"]):
            yield f"I6 {submission} is recorded as {record['outcome']}, the provider says {run['status']}"
        files = case.planned.get(submission, [])
        if record["files"] != [row["path"] for row in files]:
            yield f"I6 {submission} is recorded with other files than planned"
        if record["outcome"] == "succeeded":
            seen = [row["sha256"] for row in record["data"]["Inventory"]["value"]]
            if seen != [case.evidence.digests.get(row["path"]) for row in files]:
                yield f"I6 {submission} is recorded with the result of other files"


def _state_table(case: _Case) -> Iterator[str]:
    at: dict[str, tuple[str, int]] = {}
    for row in case.evidence.journal:
        submission, verb, generation = row["submission"], row["verb"], int(row["generation"])
        state, before = at.get(submission, ("", 0))
        step = f"{submission}: {verb} {row['from']} → {row['to']} in generation {generation}"
        if verb not in set(Verb):
            yield f"I7 {step} raises an alarm"
            continue
        jumps = verb == Verb.DOUBT and generation > before  # beyond whatever the ledger has forgotten
        if row["from"] != state or not (generation == before + 1 or jumps):
            yield f"I7 {step} came after {state or 'nothing'} in generation {before}"
        if not allows(Verb(verb), State(row["from"]) if row["from"] else None, State(row["to"])):
            yield f"I7 {step} isn't in the table"
        at[submission] = (row["to"], generation)
    for submission in sorted(set(at) ^ set(case.planned)):
        yield f"I7 {submission} is in only one of manifest and journal"
    for submission, (state, _) in at.items():
        if (state == State.EXPORTED) != (submission in case.records):
            yield f"I7 {submission} is {state}, with {len(case.records.get(submission, ()))} records"


def _an_intent_first(case: _Case) -> Iterator[str]:
    begun = Counter(case.external(row["submission"]) for row in case.evidence.journal if row["verb"] == Verb.BEGIN)
    sent = Counter(row["external_id"] for row in case.posts if row["external_id"] is not None)
    for external, number in sorted(sent.items()):
        if number > begun[external]:
            yield f"I11 {external} was sent {number} times, with {begun[external]} intents"
    if len(case.posts) > begun.total():
        yield f"I11 {len(case.posts)} requests arrived, with {begun.total()} intents"


def _one_payload(case: _Case) -> Iterator[str]:
    contents = {
        case.external(submission): [(row["name"], case.evidence.digests.get(row["path"])) for row in rows]
        for submission, rows in case.planned.items()
    }
    for row in case.posts:
        sent = [(file["name"], file["sha256"]) for file in row["files"]]
        expected = contents.get(str(row["external_id"]), [])
        if row["run_id"] is None:
            expected = expected[: len(sent)]  # a body that broke off
        if row["external_id"] is not None and sent != expected:
            yield f"I12 request {row['seq']} sent other files for {row['external_id']} than planned"


def _exit_codes(case: _Case) -> Iterator[str]:
    failed = any(row["outcome"] != "succeeded" for row in case.evidence.files)
    end = int(failed)
    for ending in case.evidence.endings:
        if ending.code == STOPPED or (ending.verb != "run" and ending.code == 0):
            continue
        if ending.verb != "run" or ending.code != end:
            yield f"I15 `paceline {ending.verb}` ended with {ending.code}, failures: {failed}"
        elif not ending.success:
            yield f"I15 `paceline {ending.verb}` ended with {ending.code} before _SUCCESS was there"
    if not any(ending.verb == "run" and ending.code == end for ending in case.evidence.endings):
        yield "I15 no command ever came to the end"


_PARTS = (
    _one_payment,
    _nothing_lost,
    _every_file_once,
    _pace,
    _one_record_each,
    _the_providers_word,
    _state_table,
    _an_intent_first,
    _one_payload,
    _exit_codes,
)

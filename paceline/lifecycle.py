"""The state table: which verb leads from where to where.

The scripts enforce it; this is its one readable form, from which `docs/lifecycle.md` is generated and against which
the tests hold the scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from paceline.model import State


class Verb(StrEnum):
    """What can happen to a submission, as the journal names it."""

    PLAN = "plan"
    RESTORE = "restore"
    BEGIN = "begin"
    ACCEPTED = "accepted"
    ADOPT = "adopt"
    PUT_BACK = "put_back"
    PAUSE = "pause"
    REJECT = "reject"
    GIVE_UP = "give_up"
    RESUBMIT = "resubmit"
    UNCERTAIN = "uncertain"
    DOUBT = "doubt"
    ABSENT = "absent"
    HOLD = "hold"
    FINISH = "finish"
    EXPORTED = "exported"
    SPLIT = "split"
    COLLECT = "collect"
    RETRY = "retry"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table. `sources` is empty where the verb creates the submission."""

    sources: tuple[State, ...]
    target: State
    note: str


TABLE: Mapping[Verb, Transition] = {
    Verb.PLAN: Transition(
        (),
        State.PLANNED,
        "planning again changes nothing; a rebuilt ledger plans what it knows no end of as `uncertain`",
    ),
    Verb.RESTORE: Transition((), State.EXPORTED, "`paceline rebuild` found its record; without one it is uncertain"),
    Verb.BEGIN: Transition((State.PLANNED,), State.SUBMITTING, "permit and intent in one script; attempt + 1"),
    Verb.ACCEPTED: Transition(
        (State.SUBMITTING, State.UNCERTAIN), State.RUNNING, "the run id is on record; a second one raises an alarm"
    ),
    Verb.ADOPT: Transition(
        (State.PLANNED, State.SUBMITTING, State.UNCERTAIN, State.HELD),
        State.RUNNING,
        "evidence of a run that came late: whatever was believed, the run was paid for",
    ),
    Verb.PUT_BACK: Transition(
        (State.SUBMITTING,), State.PLANNED, "the provider surely did nothing: 429, no connection; attempt − 1"
    ),
    Verb.PAUSE: Transition(
        (State.SUBMITTING, State.PLANNED),
        State.PLANNED,
        "401, 403, 402, unknown agent: the account waits for `resume`; source out of reach, other address: the batch",
    ),
    Verb.REJECT: Transition(
        (State.PLANNED, State.SUBMITTING),
        State.FINISHED,
        "400, 413, 422, or a file that is no longer what was planned: this submission can't work",
    ),
    Verb.UNCERTAIN: Transition(
        (State.SUBMITTING,), State.UNCERTAIN, "a POST was begun and its outcome isn't known, or its lease ran out"
    ),
    Verb.DOUBT: Transition(
        (State.PLANNED, State.UNCERTAIN),
        State.UNCERTAIN,
        "the ledger may have forgotten a request: this machine's spool has one, or another Redis has taken over",
    ),
    Verb.ABSENT: Transition(
        (State.UNCERTAIN,),
        State.PLANNED,
        "two complete lists without it after the settling time, and a positive control",
    ),
    Verb.HOLD: Transition(
        (State.UNCERTAIN, State.PLANNED), State.HELD, "no way to know, or files changed after the first attempt"
    ),
    Verb.RESUBMIT: Transition(
        (State.HELD, State.UNCERTAIN),
        State.PLANNED,
        "a person says that it may be sent again, and answers for a second payment; or the account's `on_uncertain`",
    ),
    Verb.GIVE_UP: Transition((State.HELD,), State.FINISHED, "a person says that it failed"),
    Verb.FINISH: Transition((State.RUNNING,), State.FINISHED, "the first terminal status wins and stays"),
    Verb.EXPORTED: Transition((State.FINISHED,), State.EXPORTED, "after every sink said it is durable"),
    Verb.SPLIT: Transition(
        (State.FINISHED,),
        State.EXPORTED,
        "failed, and its files go on in two halves, planned by this; after every sink said that its record is durable",
    ),
    Verb.COLLECT: Transition(
        (State.EXPORTED,), State.RUNNING, "a person asks again after a run that had taken longer than the time limit"
    ),
    Verb.RETRY: Transition(
        (State.FINISHED, State.EXPORTED),
        State.PLANNED,
        "failed or cancelled, and sent again by a person's word or by `retry_failed_runs`; paid again, earlier runs"
        " stay on record",
    ),
    Verb.CANCEL: Transition(
        (State.PLANNED, State.HELD, State.RUNNING),
        State.FINISHED,
        "a person cancels the batch; a run is ended at the provider where it can, and what it returned by then is kept",
    ),
}


def allows(verb: Verb, source: State | None, target: State) -> bool:
    """Tell whether the table has this transition; `source` None is a submission that didn't exist."""
    row = TABLE[verb]
    if source is None:
        if verb is Verb.RESTORE:
            return target is row.target
        return verb is Verb.PLAN and target in (State.PLANNED, State.UNCERTAIN)
    return source in row.sources and target is row.target

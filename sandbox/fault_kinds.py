"""Every kind of fault a sandbox can have: when it strikes, whom, and what can be said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sandbox.limits import REQUEST_CLASSES

WRITES = ("add", "wait")
READS = ("get", "list")
EVERY = REQUEST_CLASSES


class Stage(StrEnum):
    """When a fault strikes."""

    HEAD = "head"  # the headers are here, the body isn't read
    BODY = "body"  # while the body is read
    ACCEPT = "accept"  # the run exists, or is about to; the client hears something else
    ANSWER = "answer"  # the right answer, delivered strangely
    READ = "read"  # a get or a list says something wrong
    OUTCOME = "outcome"  # what becomes of a run
    DELAY = "delay"  # everything is right but late


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: its stage, the classes it may apply to, and its parameters with their defaults.

    A default of None means: must be given. Values have the default's type; text where it must be given.
    """

    stage: Stage
    classes: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "status": Kind(
            Stage.HEAD,
            EVERY,
            {"code": 503, "body": "json", "retry_after": "none"},
            "refuse with any status; body json|html|empty|text; retry_after none|SECONDS|date|TEXT",
        ),
        "drop_before": Kind(Stage.HEAD, EVERY, {}, "close the connection without reading the body"),
        "hang_before": Kind(Stage.HEAD, EVERY, {"seconds": 3600.0}, "read nothing and say nothing, then close"),
        "early_413": Kind(Stage.HEAD, WRITES, {}, "answer 413 before reading the body"),
        "redirect": Kind(Stage.HEAD, EVERY, {"location": None, "code": 307}, "send the client to another address"),
        "reset_at": Kind(
            Stage.BODY, WRITES, {"bytes": -1, "fraction": 0.5}, "RST after so many bytes, or that share, of the body"
        ),
        "stall_at": Kind(
            Stage.BODY,
            WRITES,
            {"bytes": -1, "fraction": 0.5, "seconds": 3600.0},
            "stop reading at that point until the time is over, the fault is ended or the client has left",
        ),
        "accept_then_status": Kind(
            Stage.ACCEPT, WRITES, {"code": 502, "body": "html", "retry_after": "none"}, "accept, but answer an error"
        ),
        "accept_then_drop": Kind(Stage.ACCEPT, WRITES, {}, "accept, then close without an answer"),
        "accept_then_reset": Kind(Stage.ACCEPT, WRITES, {}, "accept, then RST"),
        "accept_then_hang": Kind(Stage.ACCEPT, WRITES, {"seconds": 3600.0}, "accept, then silence, then close"),
        "accept_then_truncate": Kind(Stage.ACCEPT, WRITES, {}, "accept, then half of the JSON, then close"),
        "accept_then_html": Kind(Stage.ACCEPT, WRITES, {"code": 200}, "accept, then answer a page of HTML"),
        "accept_then_wrong_ids": Kind(
            Stage.ACCEPT,
            WRITES,
            {"what": "run_id"},
            "accept, then name another run; what is run_id|agent_id|external_id|text (no valid id)|missing",
        ),
        "accept_then_terse": Kind(
            Stage.ACCEPT, WRITES, {"code": 200}, "accept, and answer with that code and nothing but the run's id"
        ),
        "accept_late": Kind(
            Stage.ACCEPT,
            WRITES,
            {"seconds": 5.0, "code": 0},
            "read everything, close (or answer code), and create the run so many seconds later",
        ),
        "slow_loris": Kind(
            Stage.ANSWER, EVERY, {"bytes": 1, "interval": 0.2}, "drip the answer, so many bytes at a time"
        ),
        "huge": Kind(
            Stage.ANSWER, EVERY, {"bytes": 100_000_000, "chunked": 0}, "pad the answer with spaces to so many bytes"
        ),
        "gzip_bomb": Kind(Stage.ANSWER, EVERY, {"bytes": 100_000_000}, "the same, compressed with gzip"),
        "delay": Kind(Stage.DELAY, EVERY, {"seconds": 1.0}, "do everything right, but answer late"),
        "list_lag": Kind(Stage.READ, ("list",), {"seconds": 5.0}, "leave out runs younger than that"),
        "list_empty": Kind(Stage.READ, ("list",), {}, "claim that nothing matches"),
        "list_ignore_filter": Kind(Stage.READ, ("list",), {}, "list every run, whatever was asked"),
        "list_page_cap": Kind(Stage.READ, ("list",), {"size": 50}, "give pages of at most that size"),
        "list_malformed": Kind(
            Stage.READ, ("list",), {"how": "truncated"}, "how is truncated|not_a_list|no_total|html|empty"
        ),
        "get_404": Kind(Stage.READ, ("get",), {}, "claim that the run doesn't exist"),
        "unknown_at_first": Kind(Stage.READ, ("get",), {"gets": 2}, "claim so for the first so many gets of each run"),
        "get_malformed": Kind(Stage.READ, ("get",), {"how": "truncated"}, "how is truncated|not_an_object|html|empty"),
        "status_backwards": Kind(Stage.READ, READS, {}, "show finished runs as running again"),
        "unknown_status": Kind(Stage.READ, READS, {"word": "archiving"}, "use a status no one has heard of"),
        "null_data": Kind(Stage.READ, READS, {}, "null instead of the results"),
        "null_completed": Kind(Stage.READ, READS, {}, "null for the time a finished run was completed"),
        "null_agent": Kind(Stage.READ, ("get",), {}, "Kindo: null for the agent, as if it had been deleted"),
        "odd_result": Kind(
            Stage.READ,
            ("get",),
            {"how": "bare"},
            "Kindo: how is bare (no fence)|prose|broken (half of the payload)|no_parts|object (no JSON text)|not_json",
        ),
        "fail_runs": Kind(
            Stage.OUTCOME,
            WRITES,
            {"prompts": 0, "status": "", "error": "The sandbox was told to fail this prompt.", "file": ""},
            "runs end with failed prompts: the first so many, 0 for all; status overrides the run's word. Kindo's end "
            "without a result, as failure or as status says: cancelled, success, any word; with file, only runs that "
            "have one with that in its name",
        ),
        "never_finish": Kind(Stage.OUTCOME, WRITES, {}, "runs that stay running"),
        "slow_runs": Kind(Stage.OUTCOME, WRITES, {"seconds": 60.0}, "runs that take that long"),
    }
)

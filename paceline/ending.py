"""Tell how a batch stands, or ended: one judgement for the command's exit codes and for what is told of nights."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

BY_PERSON = "by_person"
"""The reason of a pause that a person asked for."""


class Ended(StrEnum):
    """How a batch stands, or ended."""

    OPEN = "open"  # under way, or paused by a person
    DONE = "done"  # everything succeeded, but for what is tolerated
    NOTHING = "nothing_to_do"  # nothing new
    FAILURES = "failures"  # more failures than tolerated
    UNUSABLE = "nothing_usable"  # no file passed the checks
    HELD = "held"  # a person must act
    GONE = "gone"  # the ledger doesn't have it


def ended(summary: Mapping[str, Any], *, tolerated: bool, paused: str | None) -> Ended:
    """Tell how a batch stands by its summary. `paused`: why it, or its account, is; None where it isn't."""
    submissions, files = summary["submissions"], summary["files"]
    if summary["state"] == "complete":
        if not submissions["total"]:
            known = any(summary.get("left_out", {}).get(reason) for reason in ("unchanged", "same_content"))
            return Ended.UNUSABLE if files["skipped"] and not known else Ended.NOTHING
        flawed = (files["failed"] and not tolerated) or files["cancelled"] or summary["duplicate_runs"]
        return Ended.FAILURES if flawed else Ended.DONE
    if paused == "too_many_failures":
        return Ended.FAILURES
    waiting = submissions["total"] - submissions["exported"] - submissions["held"]
    if submissions["held"] and not waiting:
        return Ended.HELD
    return Ended.OPEN if paused in (None, "cancelled", BY_PERSON) else Ended.HELD

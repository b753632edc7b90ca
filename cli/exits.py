"""What the command's exit codes mean, and which error leads to which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from paceline.ending import Ended, ended
from paceline.errors import (
    Blocked,
    ConfigError,
    LedgerError,
    LedgerLost,
    NothingToDo,
    NothingUsable,
    PacelineError,
    ProviderError,
    SinkError,
    UnsafeRedis,
    UsageError,
)

if TYPE_CHECKING:
    from paceline.views import BatchView


class Exit(IntEnum):
    """Exit codes. A contract: scripts branch on them."""

    DONE = 0  # everything succeeded, but for what is tolerated
    FAILURES = 1  # more failures than tolerated, or a run too many
    USAGE = 2  # the command was called wrongly
    RUNNING = 3  # still running, or stopped at a limit
    HELD = 4  # a person must decide
    NOTHING_USABLE = 5  # no file passed the checks
    CONFIG = 6  # configuration or credentials
    PROVIDER_DOWN = 7  # the provider can't be reached
    NOTHING_TO_DO = 9  # nothing new: the file set is empty, or all known, or there is nothing for the verb to act on
    DETACHED = 130  # Ctrl-C; the batch is as it was


_OF_ERRORS: tuple[tuple[type[PacelineError], Exit], ...] = (
    (NothingToDo, Exit.NOTHING_TO_DO),
    (NothingUsable, Exit.NOTHING_USABLE),
    (ConfigError, Exit.CONFIG),
    (UnsafeRedis, Exit.CONFIG),
    (LedgerLost, Exit.CONFIG),
    (Blocked, Exit.CONFIG),
    (ProviderError, Exit.PROVIDER_DOWN),
    (UsageError, Exit.USAGE),
    (SinkError, Exit.USAGE),
    (LedgerError, Exit.USAGE),
)


_OF_ENDS = {
    Ended.OPEN: Exit.RUNNING,
    Ended.DONE: Exit.DONE,
    Ended.NOTHING: Exit.NOTHING_TO_DO,
    Ended.FAILURES: Exit.FAILURES,
    Ended.UNUSABLE: Exit.NOTHING_USABLE,
    Ended.HELD: Exit.HELD,
}


def exit_of(error: PacelineError) -> Exit:
    """Return the exit code of an error."""
    return next((code for kind, code in _OF_ERRORS if isinstance(error, kind)), Exit.USAGE)


def exit_of_batch(batch: BatchView, summary: Mapping[str, Any]) -> Exit:
    """Return the exit code that a batch and its summary amount to."""
    return exit_of_summary(summary, tolerated=batch.tolerated)


def exit_of_summary(summary: Mapping[str, Any], *, tolerated: bool) -> Exit:
    """Return the exit code that a summary amounts to; `tolerated`: what failed in it is within the tolerance."""
    return _OF_ENDS[ended(summary, tolerated=tolerated, paused=None)]

"""The one tree of errors.

    PacelineError
    ├── UsageError              the command was called wrongly                        exit 2
    ├── ConfigError             a setting is missing, misspelt or contradictory       exit 6
    │   ├── CredentialsError    a key is missing or the provider refuses it           exit 6
    │   └── OtherFormat         the ledger is of a format that this version leaves alone   exit 6
    ├── NothingUsable           no file of the set passed the checks                  exit 5
    ├── NothingToDo             the file set is empty                                 exit 9
    ├── FileProblem             a source file is not what was planned
    │   ├── FileMissing         gone, or no longer a regular file beneath the root
    │   ├── SourceUnreachable   the source is out of reach from this machine, or its disk doesn't answer
    │   └── FileChanged         other size or modification time than planned
    ├── ProviderError           what a request to a provider came to
    │   ├── NotSent             the provider surely did nothing; safe to repeat
    │   │   └── PermitExpired   the permit was too old before the first byte
    │   ├── Throttled           429
    │   ├── Refused             400, 413, 422: this submission can't work
    │   ├── Blocked             nothing on this account can work until a person acts
    │   │   ├── AccessDenied    401, 403
    │   │   ├── AgentUnknown    404 for the agent
    │   │   └── NoCredit        402
    │   ├── Ambiguous           a write was begun and its outcome isn't known
    │   └── Unavailable         a read failed; ask again later
    │       ├── Unreachable     without any answer
    │       └── AnswerTooLarge  its answer passed the cap; ask after fewer
    ├── LedgerError
    │   ├── UnknownBatch
    │   ├── BatchForgotten
    │   ├── UnknownSubmission
    │   ├── LedgerLost          a batch that was begun is not in the ledger any more      exit 6
    │   └── UnsafeRedis         persistence or eviction could lose paid work
    └── SinkError               a destination can't be written
        └── SinkBusy            another process is committing to it

Errors carry data as attributes; nobody parses their text.
"""

from __future__ import annotations


class PacelineError(Exception):
    """Base of everything this project raises on purpose. `str()` is one line that names the thing and the remedy."""


class UsageError(PacelineError):
    """The command was called wrongly."""


class ConfigError(PacelineError):
    """A setting is missing, misspelt or contradictory."""


class CredentialsError(ConfigError):
    """A key is missing or the provider refuses it."""


class NothingUsable(PacelineError):
    """Files were found, but none passed the checks."""


class NothingToDo(PacelineError):
    """The file set has no file."""


class FileProblem(PacelineError):
    """A source file is not what was planned.

    `path` is relative to the source root; `reason` is a word for records.
    """

    reason = "file_problem"

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class FileMissing(FileProblem):
    """The file is gone, unreadable, or no longer a regular file beneath the root."""

    reason = "file_missing"


class SourceUnreachable(FileProblem):
    """The source itself is out of reach from this machine (gone, unmounted, failing): no single file is to blame."""

    reason = "source_unreachable"


class FileChanged(FileProblem):
    """The file's size or modification time differs from the manifest's."""

    reason = "file_changed"


class ProviderError(PacelineError):
    """What a request to a provider came to, when it was not a usable answer.

    `http_status` is None where no status line arrived. `body_sent` is true only if every byte of the request body was
    handed to the connection.
    """

    def __init__(self, message: str, *, http_status: int | None = None, body_sent: bool = False) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.body_sent = body_sent


class NotSent(ProviderError):
    """The provider surely did nothing: no connection, or it failed before the first byte of the request."""


class PermitExpired(NotSent):
    """The permit was older than its life when the first byte was about to leave."""


class Throttled(ProviderError):
    """The provider answered 429. `retry_after_s` is its wish in seconds, or None where it gave none we can read."""

    def __init__(self, message: str, *, retry_after_s: float | None, http_status: int | None = 429) -> None:
        super().__init__(message, http_status=http_status)
        self.retry_after_s = retry_after_s


class Refused(ProviderError):
    """The provider refuses this very submission (400, 413, 422); sending it again can't help."""


class Blocked(ProviderError):
    """Nothing on this account or agent can work until a person acts. `reason` is a word for records and `status`."""

    reason = "blocked"


class AccessDenied(Blocked):
    """The key is refused (401, 403)."""

    reason = "access_denied"


class AgentUnknown(Blocked):
    """The provider has no such agent, or the key may not use it (404)."""

    reason = "agent_unknown"


class NoCredit(Blocked):
    """The account has no credit left (402)."""

    reason = "no_credit"


class Ambiguous(ProviderError):
    """A write was begun and its outcome isn't known: 408, 409, 5xx, a broken connection, an unreadable 2xx."""


class Unavailable(ProviderError):
    """A read failed or its answer made no sense; it may be asked again."""


class Unreachable(Unavailable):
    """A read got no answer at all: no connection, a broken one, or silence for too long."""


class AnswerTooLarge(Unavailable):
    """An answer passed the cap on response bytes."""


class LedgerError(PacelineError):
    """The ledger can't do what was asked."""


class UnknownBatch(LedgerError):
    """No batch of that id or name."""


class BatchForgotten(LedgerError):
    """The batch was complete and paid for, and is removed from the ledger."""


class UnknownSubmission(LedgerError):
    """No submission of that id."""


class LedgerLost(LedgerError):
    """A batch that was begun is not in the ledger any more."""


class UnsafeRedis(LedgerError):
    """The Redis server's persistence or eviction settings could lose paid work."""


class SinkError(PacelineError):
    """A destination can't be written; what was to be written is still in the ledger."""


class SinkBusy(SinkError):
    """Another process is committing to the destination; what it leaves is as good as ours."""

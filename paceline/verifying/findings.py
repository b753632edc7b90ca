"""What holding them against each other can find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What differs."""

    LEDGER_MISSING = "ledger_missing"  # the ledger doesn't know the batch
    MANIFEST_MISSING = "manifest_missing"  # there is no manifest
    MANIFEST_ROW = "manifest_row"  # a line that can't be read, or has neither submission nor reason
    MANIFEST_ORDER = "manifest_order"  # a file that stands twice in the manifest, or a submission out of order
    MANIFEST_LENGTH = "manifest_length"  # the manifest isn't as long as was registered
    NOT_IN_LEDGER = "not_in_ledger"  # a submission of the manifest that the ledger doesn't have
    NOT_IN_MANIFEST = "not_in_manifest"  # a submission of the ledger that the manifest doesn't have
    FILES = "files"  # the ledger has other files for a submission than the manifest
    COUNTER = "counter"  # a total of the batch isn't what its submissions come to
    STATE = "state"  # the batch is complete and a submission isn't exported
    RUN_MISSING = "run_missing"  # the provider has no such run
    RUN_EXTRA = "run_extra"  # the provider has a run that the ledger doesn't have: paid for beside the other
    RUN_OUTCOME = "run_outcome"  # the provider says that the run ended otherwise
    NOT_COMMITTED = "not_committed"  # the batch is complete and a destination has no `_SUCCESS`, or the other way round
    RECORD_MISSING = "record_missing"  # an exported submission without a record
    RECORD_TWICE = "record_twice"  # a record that stands twice
    RECORD_UNKNOWN = "record_unknown"  # a record of something that isn't exported
    RECORD_DAMAGED = "record_damaged"  # a record, or a part, that can't be read
    RECORD_DIFFERS = "record_differs"  # a record, or a part, that says otherwise
    FILE_MISSING = "file_missing"  # a file of the manifest without a line in `files.jsonl`
    FILE_TWICE = "file_twice"  # a file with two lines there
    FILE_UNKNOWN = "file_unknown"  # a line there for a file that isn't in the manifest
    FILE_DIFFERS = "file_differs"  # a line there that says otherwise
    DIGEST = "digest"  # with `--digests`: the source file isn't what was sent


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `submission` and `path` are None where it isn't about one."""

    kind: Kind
    submission: str | None
    path: str | None
    expected: Any
    found: Any

    def as_dict(self) -> dict[str, Any]:
        """Return the form of `verify --json`."""
        return {
            "kind": self.kind.value,
            "submission": self.submission,
            "path": self.path,
            "expected": self.expected,
            "found": self.found,
        }


@dataclass
class Findings:
    """Takes differences as they are found, and counts what was looked at."""

    take: Callable[[Difference], None]
    checked: Counter[str] = field(default_factory=Counter)
    differences: int = 0

    def differs(
        self,
        kind: Kind,
        *,
        submission: str | None = None,
        path: str | None = None,
        expected: Any = None,
        found: Any = None,
    ) -> None:
        """Report a difference."""
        self.differences += 1
        self.take(Difference(kind, submission, path, expected, found))

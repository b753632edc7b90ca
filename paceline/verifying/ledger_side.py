"""Hold the ledger against the manifest, and its totals against its submissions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from paceline.halving import REASON, is_half
from paceline.model import Outcome, PlannedFile, State, Submission, index_of, submission_id
from paceline.verifying.findings import Findings, Kind
from paceline.verifying.streams import Group
from paceline.views import BatchView, Views

MOVING = tuple(f"n:{state}" for state in State if state is not State.EXPORTED)
"""Totals that go up and down while a batch is under way."""

TAKEN_BACK = (f"files:{Outcome.FAILED}", "why:")
"""Where submissions are being split in halves, so do these."""


class LedgerSide:
    """The ledger's submissions, as many at a time as are asked for."""

    def __init__(self, views: Views, batch: BatchView, findings: Findings) -> None:
        self._views = views
        self._before = batch
        self._findings = findings
        self._sums: Counter[str] = Counter()
        self._credits = 0.0

    def check(self, indexes: Sequence[int], groups: Mapping[int, Group]) -> dict[int, Submission]:
        """Hold submissions against what the manifest has of them; return those that the ledger has."""
        names = {submission_id(self._before.id, index): index for index in indexes}
        found = self._views.with_files(list(names))
        for name, index in names.items():
            group = groups.get(index)
            if name not in found:
                if group is not None:
                    self._findings.differs(Kind.NOT_IN_LEDGER, submission=name, expected=len(group.files))
                continue
            item, files = found[name]
            self._add(item)
            if group is None:
                self._findings.differs(Kind.NOT_IN_MANIFEST, submission=name, found=item.files)
                continue
            self._compare(item, files, group)
            if self._before.closed and item.state is not State.EXPORTED:
                self._findings.differs(Kind.STATE, submission=name, expected="exported", found=item.state.value)
        return {names[name]: item for name, (item, _) in found.items()}

    def _compare(self, item: Submission, files: Sequence[PlannedFile], group: Group) -> None:
        for wanted, had in zip_longest(group.files, files):
            if wanted != had:
                path = (wanted or had).path
                self._findings.differs(
                    Kind.FILES, submission=item.id, path=path, expected=_file(wanted), found=_file(had)
                )
                break
        counted = {"files": len(files), "bytes": sum(file.size_bytes for file in files)}
        noted = {"files": item.files, "bytes": item.size_bytes}
        if counted != noted:
            self._findings.differs(Kind.COUNTER, submission=item.id, expected=counted, found=noted)

    def _add(self, item: Submission) -> None:
        sums = self._sums
        sums["total"] += 1
        if not is_half(index_of(item.id)):  # a half's files were counted with the whole
            sums["files"] += item.files
            sums["bytes"] += item.size_bytes
        sums[f"n:{item.state}"] += 1
        sums["runs_accepted"] += (item.run_id is not None) + len(item.past)
        if item.outcome is not None:
            sums[f"o:{item.outcome}"] += 1
            sums[f"files:{item.outcome}"] += item.files if item.reason != REASON else 0
            if item.outcome is not Outcome.SUCCEEDED:
                sums[f"why:{item.reason}"] += 1
        self._credits += (item.credits or 0.0) + item.past_credits

    def check_totals(self, skipped: int) -> None:
        """Hold the batch's totals against what its submissions came to, and the manifest's skipped files.

        What moved meanwhile has to lie between what it was before and what it is now.
        """
        after = self._views.batch(self._before.id)
        low, high = _totals(self._before), _totals(after)
        still = low == high
        halving = bool(after.isolated)  # takes back what was counted as failed
        for name in sorted({*low, *high, *self._sums}):
            if not still and (name in MOVING or (halving and name.startswith(TAKEN_BACK))):
                continue
            least, most = sorted((low.get(name, 0), high.get(name, 0)))
            if not least <= self._sums[name] <= most:
                self._findings.differs(
                    Kind.COUNTER, expected=f"{name}={self._sums[name]}", found=f"{name}={high.get(name, 0)}"
                )
        if still and abs((after.credits or 0.0) - self._credits) > 1e-6 * max(self._credits, 1.0):
            self._findings.differs(
                Kind.COUNTER, expected=f"credits={self._credits:g}", found=f"credits={after.credits}"
            )
        if self._before.listed and skipped != after.files_skipped:
            self._findings.differs(
                Kind.COUNTER, expected=f"files_skipped={skipped}", found=f"files_skipped={after.files_skipped}"
            )


def _totals(batch: BatchView) -> dict[str, int]:
    totals = {"total": batch.total, "files": batch.files, "bytes": batch.size_bytes}
    totals |= {f"n:{state}": number for state, number in batch.by_state.items()}
    totals |= {f"o:{outcome}": number for outcome, number in batch.outcomes.items()}
    totals |= {f"files:{outcome}": number for outcome, number in batch.files_by_outcome.items()}
    totals |= {f"why:{reason}": number for reason, number in batch.reasons.items()}
    return totals | {"runs_accepted": batch.runs_accepted}


def _file(file: PlannedFile | None) -> list[object] | None:
    return None if file is None else [file.path, file.size_bytes, file.mtime_ns, file.upload_name]


def chunks(groups: Iterator[Group], total: int, size: int) -> Iterator[tuple[list[int], dict[int, Group]]]:
    """Cut submissions into chunks of indexes, in order: all from 1 up to `total`, and every group's (halves' too).

    With each chunk come the groups that there are.
    """
    indexes: list[int] = []
    held: dict[int, Group] = {}
    for index, group in _numbered(groups, total):
        indexes.append(index)
        if group is not None:
            held[index] = group
        if len(indexes) == size:
            yield indexes, held
            indexes, held = [], {}
    if indexes:
        yield indexes, held


def _numbered(groups: Iterator[Group], total: int) -> Iterator[tuple[int, Group | None]]:
    following = 1
    for group in groups:
        if is_half(group.index):
            yield group.index, group
            continue
        yield from ((index, None) for index in range(following, min(group.index, total + 1)))
        yield group.index, group
        following = group.index + 1
    yield from ((index, None) for index in range(following, total + 1))

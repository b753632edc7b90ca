"""Plan a batch into the ledger while its source is still being listed, so that work starts at once.

The manifest is made durable before the ledger hears of a submission: what is registered can always be read. Killed at
any moment, the same call goes on behind the last registered submission.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from paceline.batch_file import Listed, record_batch, record_listed
from paceline.errors import LedgerLost
from paceline.ledger import Ledger
from paceline.manifest import ManifestWriter, read_manifest
from paceline.model import BatchSpec, Choice, Follow, PlannedSubmission, SizeLimits, SkippedFile
from paceline.providers.base import Weights
from paceline.replies import Moved
from paceline.sinks.registry import open_sink
from paceline.views import BatchView, Views
from producers.grouping import Grouping
from producers.known import Known
from producers.planning import Cut, plan_entries, resume_from
from producers.sources import Source
from producers.staging import remove_stage
from producers.weighing import FileScale

FLUSH_S = 0.2
"""A disk sync covers what was listed in this time: a second per thousand would be paid for one each."""

AT_ONCE = 50
"""Submissions registered in a round trip: the embedded server syncs them together, in a few milliseconds."""

Send = Callable[[Iterable[Follow]], None]


def open_batch(ledger: Ledger, views: Views, spec: BatchSpec, manifest: str) -> tuple[BatchView, bool]:
    """Register the batch, or find it and make its choices those of `spec`; the second value tells whether it is new.

    What it is stands durably beside the manifest before the ledger hears of it. Raises `SinkError`.
    """
    record_batch(manifest, spec)
    new = ledger.open_batch(spec, manifest=manifest)
    if not new:
        ledger.choose(spec.batch_id(), {choice.value: spec.choices.get(choice, "") for choice in Choice})
    return views.batch(spec.batch_id()), new


def enqueue(
    ledger: Ledger,
    views: Views,
    batch: BatchView,
    source: Source,
    limits: SizeLimits,
    send: Send,
    *,
    exclude: Collection[str] = (),
    stopped: Callable[[], bool] = lambda: False,
    weights: Weights | None = None,
    grouping: Grouping | None = None,
    known: Known | None = None,
    stage: str | None = None,
) -> bool:
    """Plan what isn't planned yet. Returns True when the listing is complete, False if `stopped` said so before.

    Raises `ManifestBusy` while another process plans the same batch, `SinkError` if the manifest is another batch's,
    `LedgerLost` if the batch is being rebuilt. With `weights`, files count by what they weigh in a submission.
    With a `grouping`, those of a group stay together; what `known` knows is left out; `stage` is as in `Cut`.
    """
    if batch.listed:
        _check_plan(source, batch)
        record_listed(batch.manifest, batch.spec, Listed(batch.manifest_bytes, batch.files_skipped))
        if stage is not None:
            remove_stage(stage)
        return True
    with ManifestWriter.locked(batch.manifest, batch.id) as writer:
        batch = views.batch(batch.id)  # whoever had the lock until now may have planned on since the caller looked
        if batch.listed:
            _check_plan(source, batch)
            return True
        if batch.rebuilding:  # what isn't registered again yet may have been sent: it must not be cut off
            raise LedgerLost(f"batch {batch.id} is not rebuilt yet: paceline rebuild {Path(batch.manifest).parent}")
        writer.resume(batch.manifest_bytes)
        record_batch(batch.manifest, batch.spec, ours=True)
        scale = FileScale(weights, batch.spec.inputs, source.location) if weights else None
        cut = Cut(limits, batch.files_per_run, scale, grouping, known, stage)
        resume = resume_from(source, cut, batch.manifest, batch.manifest_bytes, batch.in_manifest)
        # Whether a small batch waits for its runs is decided by its size: it is listed before the first is sent.
        at_once = batch.choices.get(Choice.WAIT) != "auto"
        plan = _Plan(ledger, batch.id, writer, send, batch.files_skipped, at_once=at_once)
        if batch.files_skipped:
            rows = read_manifest(batch.manifest, stop=batch.manifest_bytes)
            plan.left_out.update(row.reason.value for row in rows if row.reason)
        for entry in plan_entries(source, cut, exclude, resume):
            plan.add(entry)
            if stopped():
                send(plan.register())
                return False
        follows = plan.register()
        for place in batch.to:
            open_sink(place).take_manifest(batch.id, batch.manifest)
        ledger.left_out(batch.id, plan.left_out)
        follow = ledger.listed(batch.id, skipped=plan.skipped, manifest_bytes=writer.offset)
        send([*follows, *([follow] if follow else [])])
        # Not before: what the ledger takes for listed never changes, the manifest's end until then may.
        record_listed(batch.manifest, batch.spec, Listed(writer.offset, plan.skipped))
        if stage is not None:
            remove_stage(stage)
    return True


def _check_plan(source: Source, batch: BatchView) -> None:
    """Make sure that a complete batch is the saved plan, where it is to be one. Raises `UsageError`."""
    if source.saved is not None:
        source.saved.check_begun(batch.manifest, batch.manifest_bytes, whole=True)


class _Plan:
    """Entries written to the manifest and not registered yet."""

    def __init__(
        self, ledger: Ledger, batch: str, writer: ManifestWriter, send: Send, skipped: int, *, at_once: bool
    ) -> None:
        self.skipped = skipped
        self.left_out: Counter[str] = Counter()
        self._ledger = ledger
        self._batch = batch
        self._writer = writer
        self._send = send
        self._waiting: list[tuple[PlannedSubmission, int, int]] = []
        self._synced_at = 0.0 if at_once else time.monotonic()  # long ago: the very first one is registered at once

    def add(self, entry: PlannedSubmission | SkippedFile) -> None:
        extent = self._writer.write(entry)
        if isinstance(entry, SkippedFile):
            self.skipped += 1
            self.left_out[entry.reason.value] += 1
            return
        self._waiting.append((entry, extent.stop, self.skipped))
        if time.monotonic() - self._synced_at > FLUSH_S:
            self._send(self.register())

    def register(self) -> list[Follow]:
        """Register what waits; return the wake-ups to send."""
        self._writer.flush()
        follows: list[Follow] = []
        for start in range(0, len(self._waiting), AT_ONCE):
            for moved in self._ledger.plan_all(self._batch, self._waiting[start : start + AT_ONCE]):
                follows += moved.follows if isinstance(moved, Moved) else []
        self._waiting.clear()
        self._synced_at = time.monotonic()
        return follows

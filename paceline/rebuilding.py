"""Rebuild the ledger of one batch from what it left: `batch.json`, manifest and parts, or a folder's committed output.

A submission whose record stands at every destination is restored as exported. Of any other nobody knows whether it
was sent, so it is registered as uncertain: the ordinary reconciling asks the provider before anything is sent again.
Killed at any moment, the same call goes on; until it is through, the batch is paused and can't be planned on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paceline.batch_file import BATCH_FILE, BatchFile, Listed, read_batch_file, record_listed
from paceline.errors import LedgerError, UsageError
from paceline.halving import REASON, cut, halves_of, is_half, root_of
from paceline.known import KnownFiles
from paceline.ledger import Ledger
from paceline.manifest import ManifestWriter, read_manifest
from paceline.model import BatchSpec, PlannedSubmission, index_of, submission_id
from paceline.planned import ManifestDamaged, Planned, PlanReader, mend_end, survey
from paceline.records import read_record
from paceline.remembering import remember, remember_last
from paceline.roots import path_order
from paceline.sinks.base import Part
from paceline.sinks.committed import Committed, is_committed, stands
from paceline.sinks.directory import MANIFEST
from paceline.sinks.kept import kept_parts
from paceline.sinks.places import folders
from paceline.sinks.registry import shared_sink
from paceline.times import iso_from_ns
from paceline.views import Views

_WHICH = "the first folder among the --to of its batch, or, where none is one, PACELINE_HOME/batches/BATCH"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found. Files are those in submissions; `listed` tells whether the listing had been complete."""

    batch: str
    restored: int
    in_doubt: int
    files: int
    listed: bool


def open_output(folder: str) -> BatchFile:
    """Read what batch a folder holds. Raises `UsageError` or `SinkError` that says why nothing can be rebuilt there."""
    path = Path(folder, BATCH_FILE)
    if not Path(folder).is_dir():
        raise UsageError(f"{folder!r} is no folder: name {_WHICH}")
    try:
        found = read_batch_file(str(path))
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder!r} has no {BATCH_FILE}: it is no output, or not the first of its batch, or older than that file;"
            f" name {_WHICH}"
        ) from error
    if not Path(folder, MANIFEST).exists():
        raise UsageError(
            f"{folder!r} has no {MANIFEST}: bring it back from a copy; if there never was one, nothing was sent"
        )
    first = next(iter(folders(found.spec.to)), folder)
    if not (Path(first).exists() and Path(first).samefile(folder)):
        raise UsageError(f"{folder!r} was made as {first!r}: move it back there, its batch writes to that place")
    return found


def rebuild(
    ledger: Ledger,
    views: Views,
    folder: str,
    *,
    sending_s: Callable[[int], float],
    paused_message: str,
    known: KnownFiles,
) -> Rebuilt:
    """Rebuild the ledger of the batch whose `batch.json` and manifest are in `folder`.

    `sending_s` says for how long from now somebody may still be sending a submission of so many bytes; what has its
    record is noted in `known`. Raises
    `UsageError` if there is nothing to rebuild from, or the ledger has the batch; `SinkError` if something is damaged.
    """
    file = open_output(folder)
    spec, batch = file.spec, file.spec.batch_id()
    manifest = str(Path(next(iter(folders(spec.to)), folder), MANIFEST))
    with ManifestWriter.locked(manifest, batch):  # nobody plans or rebuilds meanwhile
        leavings = _Leavings(spec)
        stop = file.listed.manifest_bytes if file.listed else None
        extent = survey(manifest, batch, stop)
        listed = file.listed or (Listed(extent.length, extent.skipped) if leavings.committed else None)
        _refuse_known(views, batch)
        newest = leavings.newest(batch)
        if newest > (extent.last.submission.index if extent.last else 0):
            raise ManifestDamaged(
                f"{manifest} is older than the records beside it: they go up to {submission_id(batch, newest)}; put the"
                " manifest and batch.json of that time back, or choose another --to to pay for everything again"
            )
        if extent.last and not listed:
            mend_end(manifest, extent.last, spec.files_per_run, path_order(spec.source))
        ledger.open_batch(spec, manifest=manifest, rebuilding=paused_message)
        _refuse_known(views, batch)
        view = views.batch(batch)
        complete = leavings.committed and all(part for _, part in leavings.parts(manifest, batch, listed))
        restored = in_doubt = files = 0
        for planned, part in leavings.parts(manifest, batch, listed):
            files += 0 if is_half(planned.submission.index) else len(planned.submission.files)
            if part is None:
                in_doubt += 1
                ledger.plan(
                    batch,
                    planned.submission,
                    manifest_bytes=planned.stop,
                    skipped=planned.skipped,
                    in_doubt=True,
                    sending_s=sending_s(planned.submission.size_bytes),
                )
                continue
            restored += 1
            if not complete:
                leavings.complete(part)
            ended = read_record(part.record)
            ledger.restore(batch, planned.submission, ended, manifest_bytes=planned.stop, skipped=planned.skipped)
            item = views.submission(planned.id)
            remember(known, views, view, [(item, planned.submission.files, _digests(part))])
        if listed:
            record_listed(manifest, spec, listed)
        if file.cancelled:  # before it can go on
            ledger.cancel_batch(batch, message="cancelled by a person")
        if listed:
            rows = read_manifest(manifest, stop=listed.manifest_bytes)
            ledger.left_out(batch, Counter(row.reason.value for row in rows if row.reason))
            remember_last(known, views, replace(views.batch(batch), listed=True))
        ledger.rebuilt(
            batch,
            listed=listed is not None,
            skipped=listed.skipped if listed else 0,
            manifest_bytes=listed.manifest_bytes if listed else 0,
            committed=complete,
        )
    return Rebuilt(batch, restored, in_doubt, files, listed is not None)


def _digests(part: Part) -> Sequence[bytes]:
    """Return the SHA-256 digests of what was sent, by a part's file records; none unless all are there."""
    found = [row.get("sha256") for row in part.files]
    return [bytes.fromhex(digest) for digest in found if digest] if all(found) else ()


def _refuse_known(views: Views, batch: str) -> None:
    found = views.find_batch(batch)
    if found is not None and not found.rebuilding:
        raise KnownBatch(f"batch {batch} is in the ledger, so nothing is lost")


class KnownBatch(LedgerError):
    """The ledger has the batch already."""


class _Leavings:
    """The records of a batch at all its destinations."""

    def __init__(self, spec: BatchSpec) -> None:
        self._spec = spec
        self._kept = {place: kept for place in spec.to if (kept := kept_parts(place))}
        self.committed = bool(spec.to) and all(stands(place, spec.batch_id()) for place in spec.to)

    def parts(self, manifest: str, batch: str, listed: Listed | None) -> Iterator[tuple[Planned, Part | None]]:
        """Give the submissions in order, each with what stands of it; None where that isn't whole, or nowhere.

        One that was split is followed by its halves: its record tells of them, and stands before they are planned.
        """
        final = [Committed(place, batch) for place in folders(self._spec.to) if is_committed(place, batch)]
        for planned in PlanReader(manifest, batch, listed.manifest_bytes if listed else None):
            yield from self._unfold(planned, final)

    def _unfold(self, planned: Planned, final: Sequence[Committed]) -> Iterator[tuple[Planned, Part | None]]:
        part = next((part for part in self._candidates(planned, final) if part is not None), None)
        yield planned, part
        if part is None or part.record["reason"] != REASON:
            return
        whole = planned.submission
        for index, files in zip(halves_of(whole.index), cut(whole.files), strict=True):
            half = PlannedSubmission(index, tuple(files))
            name = submission_id(self._spec.batch_id(), index)
            yield from self._unfold(replace(planned, submission=half, id=name), final)

    def _candidates(self, planned: Planned, final: Sequence[Committed]) -> Iterator[Part | None]:
        """Give what each place has of a submission, parts first: they are read only until one is whole."""
        for kept in self._kept.values():
            yield _checked(kept.find(planned.id), planned, self._spec)
        for one in final:
            yield _checked(one.part(planned.submission.index), planned, self._spec)

    def newest(self, batch: str) -> int:
        """Return the highest index of a submission that has a part anywhere, 0 where there is none."""
        found = (name for kept in self._kept.values() for name in kept.names(batch))
        return max((root_of(index_of(name)) for name in found if name.rpartition("-")[2].isdigit()), default=0)

    def complete(self, part: Part) -> None:
        """Write a part where it is missing, or can't be looked for: exported means that each destination has it."""
        for place in self._spec.to:
            kept = self._kept.get(place)
            if kept is None or kept.find(part.submission) != part:
                shared_sink(place).write(part)


def _checked(part: Part | None, planned: Planned, spec: BatchSpec) -> Part | None:
    """Return a part if it is whole and of these very files; else None."""
    try:
        return part if part is not None and _fits(part, planned, spec) and read_record(part.record) else None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _fits(part: Part, planned: Planned, spec: BatchSpec) -> bool:
    files = planned.submission.files
    record = part.record
    names = [file.path for file in files]
    rows = [(row["path"], row["size_bytes"], row["mtime"], row["submission"], row["outcome"]) for row in part.files]
    wanted = [
        (file.path, file.size_bytes, iso_from_ns(file.mtime_ns), planned.id, record["outcome"])
        for file in (files if record["reason"] != REASON else ())
    ]
    of = (record["batch"], record["submission"], record["account"], record["agent"])
    return rows == wanted and record["files"] == names and of == (spec.batch_id(), planned.id, spec.account, spec.agent)

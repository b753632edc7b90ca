"""Write a batch's records to further destinations, from what is there already.

What a batch's own outputs hold is copied record by record, so that it is the same to the byte; what they lack comes
from the results backend, else from the provider, who still has it. Nothing is sent, nothing in the ledger changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from paceline import jsonl
from paceline.errors import SinkError
from paceline.manifest import ManifestWriter
from paceline.model import (
    ErrorNote,
    PlannedFile,
    PlannedSubmission,
    RunView,
    State,
    Submission,
    index_of,
    submission_id,
)
from paceline.records import build_part, credits_by
from paceline.results import Results, kept_of
from paceline.sinks.base import Closing, Part, Sink
from paceline.sinks.committed import Committed, is_committed
from paceline.sinks.directory import MANIFEST, SUMMARY
from paceline.sinks.kept import Kept, kept_parts
from paceline.sinks.places import folders
from paceline.summary import summarize
from paceline.views import BatchView, Views

AT_A_TIME = 50
"""Submissions read from the ledger in one round trip, with their files."""

_FACTS = ("batch", "outcome", "reason", "run_id", "external_id", "attempts", "files")
"""What of a record must be as the ledger has it: another one is an earlier attempt's, or damaged."""


class Origin(StrEnum):
    """Where a record came from."""

    OUTPUT = "output"  # an output of the batch: the same bytes
    RESULTS = "results"  # the results backend
    PROVIDER = "provider"  # the provider, asked again
    LEDGER = "ledger"  # no run, or nobody has what it returned any more


@dataclass
class Reexported:
    """What was exported again: `exported` of `total` submissions, by origin, and whether all of it was committed.

    `lost` are the submissions with a run whose results nobody has any more.
    """

    total: int
    exported: int = 0
    complete: bool = False
    origins: Counter[Origin] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)


def reexport(
    views: Views,
    batch: BatchView,
    sinks: Sequence[Sink],
    results: Results,
    ask: Callable[[str], RunView | None],
) -> Reexported:
    """Write what is exported of a batch to further sinks; a complete batch is committed there too.

    `ask` gets a run from the provider: None says that it has no such run. Raises `SinkError`, and what `ask` raises.
    """
    names = list(views.ids(batch))
    found = Reexported(len(names))
    with ExitStack() as stack:
        manifest = stack.enter_context(_manifest(views, batch)) if batch.closed else None
        for part in _Records(views, batch, results, ask, found).parts(names):
            for sink in sinks:
                sink.write(part)
            found.exported += 1
        if manifest is not None and found.exported == found.total:
            closing = Closing(
                batch=batch.id,
                manifest=manifest,
                submissions=batch.in_manifest,
                summary=_summary(batch, views.now_ms()),
                still_open=lambda: _is_same(views.find_batch(batch.id), batch),
            )
            for sink in sinks:
                sink.take_manifest(batch.id, manifest)
                sink.commit(closing)
            found.complete = closing.still_open()
    return found


def find_record(
    batch: BatchView, item: Submission, files: Sequence[PlannedFile], results: Results
) -> Mapping[str, Any] | None:
    """Return the record of one submission from an output's part or the results backend, None where neither has it."""
    for kept in _parts(batch):
        with suppress(SinkError):  # a store that is away: another place may have it
            part = kept.find(item.id)
            if part is not None and _is_of(part, batch, item, files):
                return part.record
    return kept_of(results, [item])(item)


class _Records:
    """The parts of a batch's exported submissions, each from the best place that has it."""

    def __init__(
        self,
        views: Views,
        batch: BatchView,
        results: Results,
        ask: Callable[[str], RunView | None],
        found: Reexported,
    ) -> None:
        self._views = views
        self._batch = batch
        self._results = results
        self._ask = ask
        self._found = found
        self._parts = _parts(batch)
        self._away: SinkError | None = None
        self._committed = [Committed(one, batch.id) for one in folders(batch.to) if is_committed(one, batch.id)]

    def parts(self, names: Sequence[str]) -> Iterator[Part]:
        """Give the parts of what is exported, in order."""
        for start in range(0, len(names), AT_A_TIME):
            for item, files in self._views.with_files(names[start : start + AT_A_TIME]).values():
                if item.state is State.EXPORTED:
                    yield self._part(item, files)

    def _part(self, item: Submission, files: Sequence[PlannedFile]) -> Part:
        for part in self._candidates(item):
            if part is not None and _is_of(part, self._batch, item, files):
                self._found.origins[Origin.OUTPUT] += 1
                return part
        if self._away is not None:
            raise self._away  # what may be there isn't lost, and nothing is made up for it
        origin, data, item = self._data(item)
        self._found.origins[origin] += 1
        return build_part(self._batch, item, files, self._views.digests(item.id), data)

    def _candidates(self, item: Submission) -> Iterator[Part | None]:
        """Give what each output has of a submission, parts first: they are read only until one will do.

        A store that doesn't answer is asked once: each question would take it half a minute.
        """
        for kept in list(self._parts):
            try:
                found = kept.find(item.id)
            except SinkError as error:
                self._parts.remove(kept)
                self._away = error
            else:
                yield found
        for one in self._committed:
            yield one.part(index_of(item.id))

    def _data(self, item: Submission) -> tuple[Origin, Mapping[str, Any], Submission]:
        kept = kept_of(self._results, [item])(item)
        if kept is not None:
            return Origin.RESULTS, dict(kept["data"]), replace(item, credits_by=credits_by(kept))
        if item.run_id is None or not item.raw_status:
            return Origin.LEDGER, {}, item
        run = self._ask(item.run_id)
        if run is not None:
            return Origin.PROVIDER, run.data, replace(item, credits_by=run.credits_by)
        self._found.lost.append(item.id)
        text = "the result is gone from the results backend and from the provider"
        return Origin.LEDGER, {}, replace(item, error=ErrorNote("provider", "export", text, 404).as_dict())


def _parts(batch: BatchView) -> list[Kept]:
    """Return the parts of each destination that keeps them."""
    return [kept for place in batch.to if (kept := kept_parts(place))]


def _is_of(part: Part, batch: BatchView, item: Submission, files: Sequence[PlannedFile]) -> bool:
    """Tell whether a part says what the ledger says of a submission; else another source is looked at."""
    wanted = build_part(batch, item, files, (), {})
    same = all(part.record.get(name) == wanted.record[name] for name in _FACTS)
    return same and [row.get("path") for row in part.files] == [row["path"] for row in wanted.files]


@contextmanager
def _manifest(views: Views, batch: BatchView) -> Iterator[str]:
    """Name the manifest, or a copy in another output; where all are gone, one that is made anew from the ledger.

    Raises `SinkError` where that can't be: the files that were left out stand in the manifest alone.
    """
    copies = [str(Path(folder, MANIFEST)) for folder in folders(batch.to) if is_committed(folder, batch.id)]
    there = next((path for path in (batch.manifest, *copies) if Path(path).exists()), None)
    if there is not None:
        yield there
        return
    with TemporaryDirectory(prefix="paceline-") as folder:
        path = str(Path(folder, MANIFEST))
        with ManifestWriter(path, batch.id) as writer:
            for index in range(1, batch.in_manifest + 1):
                writer.write(PlannedSubmission(index, views.files(submission_id(batch.id, index))))
            if writer.flush() != batch.manifest_bytes:
                raise SinkError(
                    f"manifest {batch.manifest} is gone, and the {batch.files_skipped:,} files that were left out stand"
                    " nowhere else: bring it back from a copy"
                )
        yield path


def _summary(batch: BatchView, now_ms: int) -> Mapping[str, Any]:
    """Return the summary that the batch's outputs have; where none can be read, the ledger's."""
    for folder in folders(batch.to):
        if is_committed(folder, batch.id):
            with suppress(OSError, ValueError):
                found = jsonl.decode(Path(folder, SUMMARY).read_bytes())
                if found.get("batch") == batch.id:
                    return found
    return summarize(batch, now_ms, complete=True)


def _is_same(now: BatchView | None, before: BatchView) -> bool:
    """Tell whether a complete batch is still complete, and not by a later commit."""
    return now is not None and now.closed and now.finished_ms == before.finished_ms

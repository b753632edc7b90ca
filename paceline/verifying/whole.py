"""Prove conservation for one batch: each file of the manifest in one submission, each submission paid for once.

Everything is read once and in order, a hundred submissions in memory at a time. Nothing is changed. What is under way
isn't a difference: it is counted as open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paceline.errors import SinkError
from paceline.halving import complete, is_half, place
from paceline.model import Outcome, State, Submission, external_id, index_of, submission_id
from paceline.roots import Root
from paceline.sinks.base import Closing
from paceline.sinks.committed import stands
from paceline.sinks.directory import RESULTS
from paceline.sinks.places import PlaceKind, folders, kind_of
from paceline.sinks.registry import open_sink
from paceline.sinks.single import FileSink
from paceline.verifying.file_side import check_files
from paceline.verifying.findings import Findings, Kind
from paceline.verifying.ledger_side import LedgerSide, chunks
from paceline.verifying.provider_side import Find, check_runs
from paceline.verifying.sink_side import Found, SinkSide, can_be_read
from paceline.verifying.streams import Group, groups, rows_of, with_halves
from paceline.verifying.twice import twice
from paceline.views import BatchView, Views

CHUNK = 100
"""Submissions in memory, where the provider doesn't set the number."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be verified. Without a ledger `view` is None.

    `manifest_bytes` is how much of the manifest counts, None: all but a torn last line. `find` asks the provider after
    at most `step` submissions; None where it can't be asked. With `root` the source files are read again.
    """

    batch: str
    manifest: str
    to: Sequence[str]
    manifest_bytes: int | None
    listed: bool
    view: BatchView | None
    find: Find | None
    step: int
    settle_s: float
    root: Root | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is open: submissions under way, those of them that are held, and whether the batch itself has ended.

    `unread` are the destinations that weren't compared: what is there can't be read back from here.
    """

    open: int
    held: int
    ended: bool
    unread: tuple[str, ...] = ()


def verify(subject: Subject, views: Views | None, findings: Findings) -> Verdict:
    """Verify a batch. `findings` takes the differences. Raises `ProviderError` if the provider can't be asked."""
    if not Path(subject.manifest).is_file():
        findings.differs(Kind.MANIFEST_MISSING, expected=subject.manifest)
        return Verdict(0, 0, ended=True)
    return _Verifier(subject, views, findings).run()


class _Verifier:
    def __init__(self, subject: Subject, views: Views | None, findings: Findings) -> None:
        self._subject = subject
        self._views = views
        self._findings = findings
        readable = [place for place in subject.to if can_be_read(place, subject.batch)]
        root = None if folders(subject.to) else subject.root
        self._sinks = [SinkSide(place, subject.batch, findings, root) for place in readable[:1]]
        self._sinks += [SinkSide(place, subject.batch, findings) for place in readable[1:]]
        self._unread = [place for place in subject.to if place not in readable]
        view = subject.view
        self._ledger = LedgerSide(views, view, findings) if views is not None and view is not None else None
        self._open = self._held = self._in_manifest = 0

    def run(self) -> Verdict:
        subject, findings = self._subject, self._findings
        self._check_length()
        read = groups(subject.manifest, subject.batch, subject.manifest_bytes, findings)
        total = subject.view.in_manifest if subject.view else 0
        halves = complete(self._halves())
        for indexes, held in chunks(with_halves(read, halves), total, subject.step or CHUNK):
            self._check_chunk(indexes, held)
        self._check_twice()
        if self._ledger is not None:
            self._ledger.check_totals(findings.checked["skipped"])
        first = next((sink for sink in self._sinks if sink.committed), None)
        for sink in self._sinks:
            sink.finish(self._is_known)
            if sink.committed:
                check_files(
                    sink.folder,
                    subject.manifest,
                    subject.manifest_bytes,
                    subject.batch,
                    self._items(sink),
                    findings,
                    subject.root if sink is first else None,
                    halves,
                )
        ended = self._check_committed()
        if ended and not self._open:
            self._check_merged()
        findings.checked["open"] = self._open
        return Verdict(self._open, self._held, ended, tuple(self._unread))

    def _halves(self) -> Iterable[int]:
        if self._views is not None and self._ledger is not None:
            return self._views.halves(self._subject.batch)
        return (half for sink in self._sinks for half in sink.halves())

    def _check_length(self) -> None:
        size, wanted = Path(self._subject.manifest).stat().st_size, self._subject.manifest_bytes
        if wanted is not None and (size < wanted or (self._subject.listed and size != wanted)):
            self._findings.differs(Kind.MANIFEST_LENGTH, expected=wanted, found=size)

    def _check_chunk(self, indexes: list[int], held: dict[int, Group]) -> None:
        batch = self._subject.batch
        known = self._ledger.check(indexes, held) if self._ledger is not None else {}
        items: dict[str, Submission] = {}
        for index in indexes:
            name, group = submission_id(batch, index), held.get(index)
            found = [sink.take(index, name) for sink in self._sinks]
            item = known.get(index)
            if item is None and group is None:
                continue
            self._findings.checked["submissions"] += 1
            self._in_manifest += group is not None and not is_half(index)
            self._findings.checked["files"] += len(group.files) if group and not is_half(index) else 0
            item = item or self._without_ledger(name, found)
            items[name] = item
            self._open += item.state is not State.EXPORTED
            self._held += item.state is State.HELD
            for sink, one in zip(self._sinks, found, strict=True):
                sink.check(one, item, group, self._again)
        if self._subject.find is not None and items:
            check_runs(items, self._subject.find, self._again, self._is_lagging, self._findings)

    def _without_ledger(self, name: str, found: Sequence[Found]) -> Submission:
        """Tell what the records say of a submission, or that nobody knows."""
        record = next((one.record for one in found if one.record is not None), None)
        if self._ledger is not None or record is None:
            committed = self._ledger is None and any(stands(sink.place, self._subject.batch) for sink in self._sinks)
            state = State.PLANNED if self._ledger is not None else State.EXPORTED if committed else State.UNCERTAIN
            return _item(name, state, {})
        return _item(name, State.EXPORTED, record)

    def _again(self, name: str) -> Submission | None:
        return self._views.find_submission(name) if self._views is not None and self._ledger is not None else None

    def _is_lagging(self, item: Submission) -> bool:
        if self._views is None or item.submitted_ms is None or item.state is not State.RUNNING:
            return False
        return self._views.now_ms() - item.submitted_ms < self._subject.settle_s * 1000

    def _is_known(self, name: str) -> bool:
        """Tell whether something may have a part."""
        if self._ledger is None:
            return True  # without its ledger, nothing says how many there are
        item = self._again(name)
        return item is not None

    def _items(self, sink: SinkSide) -> Callable[[str], Submission | None]:
        """Give submissions in ascending order, a few hundred read at a time; without a ledger what records say."""
        view, stream = self._subject.view, _recorded_items(sink.folder, self._subject.batch)
        if self._views is not None and view is not None:
            stream = self._views.submissions(view.id)
        held = next(stream, None)

        def of(name: str) -> Submission | None:
            nonlocal held
            while held is not None and place(index_of(held.id)) < place(index_of(name)):
                held = next(stream, None)
            return held if held is not None and held.id == name else None

        return of

    def _check_twice(self) -> None:
        """Look for files that stand twice in the manifest."""
        for path in twice(self._subject.manifest, self._subject.manifest_bytes):
            self._findings.differs(Kind.MANIFEST_ORDER, path=path, expected="once")

    def _check_committed(self) -> bool:
        """Hold what is committed against the ledger; return whether the batch has ended."""
        there = {where: stands(where, self._subject.batch) for where in self._subject.to}
        if self._views is None or self._ledger is None:
            known = [one for one in there.values() if one is not None]
            return bool(known) and all(known)
        before, now = self._subject.view, self._views.batch(self._subject.batch)
        ended = before is not None and before.closed
        for where in there:
            folder = kind_of(where) is PlaceKind.FOLDER
            early = folder and there[where] and not (now.closed or now.closing)  # a file stays until the next commit
            if early or (ended and there[where] is False):
                what = f"{'a' if there[where] else 'no'} _SUCCESS in {where}" if folder else f"no file of it at {where}"
                self._findings.differs(Kind.NOT_COMMITTED, expected=f"{now.state.value} in the ledger", found=what)
        return ended

    def _check_merged(self) -> None:
        """Look whether single files are what their parts come to; a Parquet file's bytes depend on its writer."""
        batch = self._subject.batch
        for sink in self._sinks:
            if kind_of(sink.place) is PlaceKind.PARQUET:
                self._unread.append(sink.place)
            one = open_sink(sink.place) if kind_of(sink.place) in (PlaceKind.JSONL, PlaceKind.CSV) else None
            if not isinstance(one, FileSink) or not stands(sink.place, batch):
                continue
            with suppress(SinkError):  # a part that is missing, say: reported already
                if not one.matches(Closing(batch, self._subject.manifest, self._in_manifest, {})):
                    self._findings.differs(
                        Kind.RECORD_DIFFERS, expected="what its parts come to", found=f"otherwise in {sink.place}"
                    )


def _recorded_items(folder: Path, batch: str) -> Iterator[Submission]:
    for _, row in rows_of(folder / RESULTS):
        name = row and row.get("submission")
        if row and isinstance(name, str) and re.fullmatch(rf"{batch}-\d{{6,15}}", name):
            yield _item(name, State.EXPORTED, row)


def _item(name: str, state: State, record: Mapping[str, Any]) -> Submission:
    outcome = record.get("outcome")
    run_id = record.get("run_id")
    return Submission(
        id=name,
        batch=name.rpartition("-")[0],
        state=state,
        generation=0,
        attempt=0,
        files=0,
        size_bytes=0,
        external_id=external_id(name),
        planned_ms=0,
        run_id=run_id if isinstance(run_id, str) else None,
        outcome=Outcome(outcome) if outcome in set(Outcome) else None,
        reason=record.get("reason"),
    )

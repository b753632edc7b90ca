"""Note which files a submission has answered, so that a later batch can leave them out.

It is noted as each submission is exported, not when its batch closes: the digests of what was sent are only kept for
an hour past that, a batch may take days, and what was paid for in a batch that is cancelled half-way is paid for too.
It comes before the submission counts as exported, so that a crash in between repeats it.

What belongs together is known together: a group counts once all its files were answered in one run, or, where groups
may be cut, in runs that all succeeded. A group that was halved is not known: its parts are, each as a set of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from paceline.batch_view import BatchView
from paceline.halving import is_half
from paceline.known import KnownFiles, Mark, Scope, naming
from paceline.model import Outcome, PlannedFile, Submission, index_of, submission_id
from paceline.views import Views

Ended = tuple[Submission, Sequence[PlannedFile], Sequence[bytes]]
"""A submission that has ended, its files, and the digests of what was sent: empty where they aren't known."""


def remember(known: KnownFiles, views: Views, batch: BatchView, ended: Sequence[Ended]) -> None:
    """Note what is answered now that submissions of a batch have ended, however they did."""
    notes = _Notes(known, batch)
    for item, files, digests in ended:
        _remember(notes, views, batch, item, files, digests)
    notes.write(*(item for item, _, _ in ended))


def _remember(
    notes: _Notes,
    views: Views,
    batch: BatchView,
    item: Submission,
    files: Sequence[PlannedFile],
    digests: Sequence[bytes],
) -> None:
    cuts = _may_cut(batch)
    if _answered(item):
        missing: Sequence[bytes | None] = [None] * len(files)
        sent = list(zip(files, digests or missing, strict=True))
        notes.files([one for one in sent if not one[0].group])
        if _by_itself(batch, files):
            for one in sent:
                if not one[0].group:
                    notes.group([one])
        if not cuts:
            for name in dict.fromkeys(file.group for file in files if file.group):
                notes.group([one for one in sent if one[0].group == name])
    if cuts and not is_half(index_of(item.id)):
        _remember_cut(notes, views, batch, item, files)


def remember_last(known: KnownFiles, views: Views, batch: BatchView) -> None:
    """Note the last group of a batch whose listing is complete: until it was, nobody could know where that one ends."""
    if _may_cut(batch) and batch.in_manifest:
        last = submission_id(batch.id, batch.in_manifest)
        found = views.with_files([last]).get(last)
        if found is not None and found[1][-1].group:
            notes = _Notes(known, batch)
            notes.group(_Span(views, batch, found[0]).of(found[1][-1].group, batch.in_manifest))
            notes.write(found[0])


def _remember_cut(
    notes: _Notes, views: Views, batch: BatchView, item: Submission, files: Sequence[PlannedFile]
) -> None:
    """Note the groups that have a part in this submission, and the one that ended right before it."""
    span, index = _Span(views, batch, item), index_of(item.id)
    for name in dict.fromkeys(file.group for file in files if file.group):
        notes.group(span.of(name, index))
    before = span.files(index - 1) if index > 1 else ()
    if before and before[-1].group and before[-1].group != files[0].group:
        notes.group(span.of(before[-1].group, index - 1))


def _may_cut(batch: BatchView) -> bool:
    return "cut" in batch.options.get("groups", "").split()


def _by_itself(batch: BatchView, files: Sequence[PlannedFile]) -> bool:
    """Tell whether a file without a group counts as a group of its own: that is how lists with groups look for it.

    Which lists have groups nobody keeps on record, so it is noted of every list.
    """
    listed = "source:list" in batch.options and "group_by" not in batch.options
    return listed and (len(files) == 1 or "pack" in batch.options.get("groups", "").split())


def _answered(item: Submission) -> bool:
    """Tell whether a submission's answer is there; one that is lost has an error."""
    return item.outcome is Outcome.SUCCEEDED and item.error is None


Sent = tuple[PlannedFile, bytes | None]


@dataclass(slots=True)
class _Notes:
    """Marks to be written for one submission."""

    known: KnownFiles
    batch: BatchView
    marks: list[Mark] = field(default_factory=list)
    scope: Scope = field(init=False)
    name: Callable[[str], str] = field(init=False)

    def __post_init__(self) -> None:
        self.scope, self.name = Scope(self.batch.spec), naming(self.batch.source)

    def files(self, sent: Sequence[Sent]) -> None:
        """Note files that stand for themselves."""
        for file, digest in sent:
            self.marks.append(self.scope.file(self.name(file.path), file.size_bytes, file.mtime_ns))
            if digest is not None:
                self.marks.append(self.scope.content(digest))

    def group(self, sent: Sequence[Sent]) -> None:
        """Note a group; nothing where it isn't whole."""
        if not sent:
            return
        members = ((self.name(file.path), file.size_bytes, file.mtime_ns) for file, _ in sent)
        self.marks.append(self.scope.group(members))
        digests = [digest for _, digest in sent if digest is not None]
        if len(digests) == len(sent):
            self.marks.append(self.scope.group_content(digests))

    def write(self, *items: Submission) -> None:
        """Write them, as of the end of the last of these submissions."""
        if self.marks:
            at_ms = max(item.finished_ms or 0 for item in items)
            self.known.note(self.scope, self.marks, batch=self.batch.id, at_ms=at_ms)


@dataclass(slots=True)
class _Span:
    """Looks at the submissions around one, whose state is known better than the ledger has it."""

    views: Views
    batch: BatchView
    item: Submission

    def files(self, index: int) -> Sequence[PlannedFile]:
        """Return the files of a submission of the manifest; none if it isn't planned."""
        return self._look(index)[1]

    def of(self, group: str, index: int) -> list[Sent]:
        """Return the files of a group with a part in submission `index`; none unless all of it is known and answered.

        Looks ahead first: what is exported in order then costs one look each, not a walk through the whole group.
        """
        after = list(self._walk(group, index, 1))
        if not after or after[-1] is None:
            return []
        before = list(self._walk(group, index - 1, -1)) if index > 1 else []
        if before and before[-1] is None:
            return []
        return [one for some in (*before, *after) for one in some or ()]

    def _walk(self, group: str, index: int, step: int) -> Iterator[list[Sent] | None]:
        """Give the group's files, a submission at a time; None at the end where one isn't answered, or not known."""
        while index:
            item, files = self._look(index)
            if item is None:
                if not (self.batch.listed and index > self.batch.in_manifest):
                    yield None
                return
            ours = [(file, number) for number, file in enumerate(files) if file.group == group]
            if not ours:
                return
            if not _answered(item):
                yield None
                return
            digests = self.views.digests(item.id)
            yield [(file, digests[number] if digests else None) for file, number in ours]
            index += step

    def _look(self, index: int) -> tuple[Submission | None, Sequence[PlannedFile]]:
        name = submission_id(self.batch.id, index)
        item, files = self.views.with_files([name]).get(name, (None, ()))
        return (self.item if name == self.item.id else item), files

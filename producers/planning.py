"""Turn a source into the stream of submissions and skipped files that a manifest is written from.

A listing in order that is simply filled up is cut as it comes, in constant memory, looking ahead a bounded way where
bytes bind. Everything else (groups, lists, priorities) is staged first: listed to its end into a file on disk, then cut
from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from paceline.chunking import Scale, chunk
from paceline.manifest import last_path, read_manifest
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile
from producers.filling import fill
from producers.grouping import Grouping, cut_groups
from producers.known import Known
from producers.sources import Source
from producers.staging import Group, Stage
from producers.taken import Taken, remaining, sift_files, sift_teams


@dataclass(frozen=True, slots=True)
class Resume:
    """Where planning goes on: with submission `next_index`.

    That is behind the path `after` (None: at the beginning) where files are cut in passing; else with what isn't in the
    first `offset` bytes of `manifest`.
    """

    after: str | None = None
    next_index: int = 1
    manifest: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """How files become submissions.

    `limits` and `files_per_run` bound one. With a `scale`, the limits on bytes hold for weights. With a `grouping`,
    files that belong together stay together. What `known` knows is left out. `stage` is the file in which a listing is
    staged, for as long as this batch isn't planned to its end; None: in a temporary one.
    """

    limits: SizeLimits
    files_per_run: int
    scale: Scale | None = None
    grouping: Grouping | None = None
    known: Known | None = None
    stage: str | None = None


def resume_from(source: Source, cut: Cut, manifest: str, offset: int, submissions: int) -> Resume:
    """Find where to go on, from a manifest's registered length and the number of submissions in it.

    Lengths may be registered right behind a submission and at the end of the listing, nowhere else.
    """
    after = last_path(manifest, offset, source.listing.key) if _in_passing(source, cut) else None
    return Resume(after, submissions + 1, manifest, offset)


def is_staged(source: Source, cut: Cut) -> bool:
    """Tell whether everything has to be listed before the first submission is known."""
    return cut.grouping is not None or not source.listing.ordered


def _in_passing(source: Source, cut: Cut) -> bool:
    """Tell whether files are cut one after the other, so that planning goes on behind the last one.

    Where the bytes of a submission are limited, that leaves too much of it empty.
    """
    return source.saved is None and not is_staged(source, cut) and cut.limits.submission_bytes is None


def plan_entries(
    source: Source, cut: Cut, exclude: Collection[str] = (), resume: Resume | None = None
) -> Iterator[PlannedSubmission | SkippedFile]:
    """List the source and cut it into submissions. `exclude` as for `Listing.entries`; raises as that does."""
    start = resume or Resume()
    if source.saved is not None:
        yield from source.saved.planned(start)
        return
    if _in_passing(source, cut):
        files = source.listing.entries(after=start.after, exclude=exclude)
        if cut.known is not None:
            files = cut.known.sift(files)
        yield from chunk(files, cut.limits, cut.files_per_run, start.next_index, cut.scale)
        return
    with ExitStack() as stack:
        taken = None
        if start.offset:
            taken = stack.enter_context(Taken())
            taken.add(read_manifest(start.manifest, stop=start.offset))
        stage = None
        if is_staged(source, cut):
            path = cut.stage or str(Path(stack.enter_context(TemporaryDirectory(prefix="paceline-")), "stage"))
            stage = stack.enter_context(Stage(path))
            if not stage.complete:
                stage.fill(source.listing.entries(exclude=exclude), cut.grouping, once=source.listing.ordered)
        if stage is not None and cut.grouping is not None:
            plan = _grouped(stage, cut, cut.grouping, taken)
        else:
            plan = _filled(source.listing.entries(exclude=exclude) if stage is None else stage.files(), cut, taken)
        yield from plan if taken is None else remaining(plan, taken, start.next_index, cut.grouping)


def _grouped(
    stage: Stage, cut: Cut, grouping: Grouping, taken: Taken | None
) -> Iterator[PlannedSubmission | SkippedFile]:
    most = None if grouping.cut else min(cut.limits.files, cut.files_per_run)
    groups = stage.groups(most)
    if cut.known is not None:
        groups = sift_teams(groups, cut.known, taken)
    teams: Iterator[Group | SkippedFile] = chain(stage.skipped(), groups)
    return cut_groups(teams, grouping, cut.limits, cut.files_per_run, scale=cut.scale)


def _filled(
    files: Iterator[SourceFile | SkippedFile], cut: Cut, taken: Taken | None
) -> Iterator[PlannedSubmission | SkippedFile]:
    if taken is not None:
        files = taken.unskipped(files)
    if cut.known is not None:
        files = sift_files(files, cut.known, taken)
    if cut.limits.submission_bytes is None:
        return chunk(files, cut.limits, cut.files_per_run, scale=cut.scale)
    items = (file if isinstance(file, SkippedFile) else (file,) for file in files)
    return fill(items, cut.limits, cut.files_per_run, scale=cut.scale)


@dataclass(slots=True)
class Tally:
    """What a plan amounts to: `files` and `size_bytes` are those in submissions, `skipped` the others by reason."""

    submissions: int = 0
    files: int = 0
    size_bytes: int = 0
    skipped: Counter[SkipReason] = field(default_factory=Counter)

    def add(self, entry: PlannedSubmission | SkippedFile) -> None:
        """Count one entry of the stream."""
        if isinstance(entry, SkippedFile):
            self.skipped[entry.reason] += 1
        else:
            self.submissions += 1
            self.files += len(entry.files)
            self.size_bytes += entry.size_bytes

    @property
    def total(self) -> int:
        """All files of the set, skipped ones too."""
        return self.files + self.skipped.total()

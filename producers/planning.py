"""Turn a source into the stream of submissions and skipped files that a manifest is written from.

Nothing here writes or remembers: the same source, limits and place to resume give the same stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from paceline.chunking import Scale, chunk
from paceline.manifest import last_path
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason
from producers.sources import Source, walk


@dataclass(frozen=True, slots=True)
class Resume:
    """Where planning goes on: behind the path `after` (None: at the beginning), with submission `next_index`."""

    after: str | None = None
    next_index: int = 1


def resume_from(manifest: str, offset: int, submissions: int) -> Resume:
    """Find where to go on, from a manifest's registered length and the number of submissions in it.

    Lengths may be registered right behind a submission and at the end of the listing, nowhere else.
    """
    return Resume(last_path(manifest, offset), submissions + 1)


def plan_entries(
    source: Source,
    limits: SizeLimits,
    files_per_run: int,
    exclude: Collection[str] = (),
    resume: Resume | None = None,
    scale: Scale | None = None,
) -> Iterator[PlannedSubmission | SkippedFile]:
    """List the source and cut it into submissions, lazily. `exclude` as for `walk`; raises as it does.

    With a `scale`, the limits on bytes hold for weights.
    """
    start = resume or Resume()
    files = walk(source.location, after=start.after, exclude=exclude)
    return chunk(files, limits, files_per_run, start.next_index, scale)


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

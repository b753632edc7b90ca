"""Count what a plan amounts to, in constant memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from paceline.model import PlannedSubmission, SkippedFile, SkipReason
from producers.contents import Contents, Way
from producers.estimating import Work
from producers.planning import Tally

EXAMPLES = 3
"""Files named for each reason to leave files out."""


@dataclass(slots=True)
class Rehearsal(Tally):
    """A tally that also knows the groups, what the runs contain, and the first files left out of each kind."""

    contents: Contents = field(default_factory=lambda: Contents(Way(None, "")))
    groups: int = 0
    largest_bytes: int = 0
    examples: dict[SkipReason, list[str]] = field(default_factory=dict)
    _sizes: Counter[int] = field(default_factory=Counter)
    _last_groups: frozenset[str] = frozenset()

    def add(self, entry: PlannedSubmission | SkippedFile) -> None:
        """Count one entry of the stream."""
        Tally.add(self, entry)
        self.contents.add(entry)
        if isinstance(entry, SkippedFile):
            shown = self.examples.setdefault(entry.reason, [])
            if len(shown) < EXAMPLES:
                shown.append(entry.path)
            return
        self._sizes[len(entry.files)] += 1
        self.largest_bytes = max(self.largest_bytes, entry.size_bytes)
        here = frozenset(file.group for file in entry.files if file.group)
        self.groups += len(here - self._last_groups)  # one that was cut goes on in the next submission
        self._last_groups = here

    @property
    def files_per_run(self) -> tuple[int, int, int]:
        """Return the least, the median and the most files of a submission; zeros where there is none."""
        if not self._sizes:
            return 0, 0, 0
        seen, half = 0, (self.submissions + 1) // 2
        for size in sorted(self._sizes):
            seen += self._sizes[size]
            if seen >= half:
                return min(self._sizes), size, max(self._sizes)
        raise AssertionError("more submissions than sizes")

    @property
    def work(self) -> Work:
        """Return what there is to do."""
        return Work(self.submissions, self.files, self.size_bytes, self.files_per_run[2])

"""Say in words what each run of a plan will contain, and warn where files share a run that nobody said belong together.

Pure: fed with the entries of a plan as they pass, in constant memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from paceline.model import PlannedSubmission, SkippedFile
from producers.grouping import ALONE, COLUMN, DIRECTORY, LIST, REGEX, ROOT, Grouping

ADVICE = "if each file is to be answered by itself add --files-per-run 1, if a folder is one case --group-by directory"


@dataclass(frozen=True, slots=True)
class Way:
    """How a plan is made: how files are grouped (None: not), and whether they are listed in the order of their paths.

    `chosen`: a person has said how many files share a run. `together` is what the provider makes of the files of a
    run, as a sentence (`ProviderKind.together`).
    """

    grouping: Grouping | None
    together: str
    in_order: bool = True
    chosen: bool = False


@dataclass(slots=True)
class Range:
    """The least and the most of something; nothing yet: 0 and 0."""

    least: int = 0
    most: int = 0

    def add(self, number: int) -> None:
        """Take one more into account."""
        self.least = min(self.least, number) if self.most else number
        self.most = max(self.most, number)

    def of(self, one: str, many: str) -> str:
        """Write it: `12–38 files`."""
        number = f"{self.most:,}" if self.least == self.most else f"{self.least:,}–{self.most:,}"
        return f"{number} {one if self.most == 1 else many}"


@dataclass(slots=True)
class Contents:
    """What the runs of a plan contain: how many files, folders and groups each. `cut` counts parts of groups."""

    way: Way
    runs: int = 0
    files: Range = field(default_factory=Range)
    folders: Range = field(default_factory=Range)
    groups: Range = field(default_factory=Range)
    mixed: int = 0
    cut: int = 0
    _last: str = ""

    def add(self, entry: PlannedSubmission | SkippedFile) -> None:
        """Take an entry of the plan into account; skipped files are in no run."""
        if isinstance(entry, SkippedFile):
            return
        folders = {file.path.rpartition("/")[0] or ROOT for file in entry.files}
        groups = {file.group or ALONE + file.path for file in entry.files}
        self.runs += 1
        self.files.add(len(entry.files))
        self.folders.add(len(folders))
        self.groups.add(len(groups))
        self.mixed += len(folders) > 1
        self.cut += self._last in groups
        self._last = entry.files[-1].group or ALONE + entry.files[-1].path

    def add_all(self, entries: Iterable[PlannedSubmission | SkippedFile]) -> Contents:
        """Take entries into account; return these contents."""
        for entry in entries:
            self.add(entry)
        return self

    @property
    def words(self) -> str:
        """Say what each run contains."""
        if not self.runs:
            return "no run"
        if self.files.most == 1:
            return "each run: one file"
        files = self.files.of("file", "files")
        if self.way.grouping is not None:
            return f"each run: {self._grouped(self.way.grouping)} ({files}){self._parts()}"
        order = "in the order of their paths" if self.way.in_order else "in the order of the list"
        if self.runs == 1:
            return f"one run: all {files}, from {self.folders.of('folder', 'folders')}"
        where = f"from up to {self.folders.most:,} folders" if self.mixed else "of one folder"
        return f"each run: up to {self.files.most:,} files {order}, {where}"

    @property
    def warning(self) -> str | None:
        """Warn where files share a run that may have nothing to do with each other; None where that was decided."""
        if self.way.grouping is not None or self.way.chosen or self.files.most < 2:
            return None
        if self.runs == 1 and not self.mixed:
            return None
        return f"{self.way.together}; {ADVICE}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as `plan --json` prints it: words, warning, and the least and most of a run."""
        return {
            "words": self.words,
            "warning": self.warning,
            "files": [self.files.least, self.files.most],
            "folders": [self.folders.least, self.folders.most],
            "groups": None if self.way.grouping is None else [self.groups.least, self.groups.most],
            "groups_cut_runs": self.cut,
        }

    def _grouped(self, grouping: Grouping) -> str:
        by, many = grouping.by, self.groups.most > 1
        number = f"up to {self.groups.most:,}"
        if by == DIRECTORY:
            return f"the files of {number} folders, each whole" if many else "the files of one folder"
        if by == LIST:
            return f"{number} groups of the list, each whole" if many else "one group of the list"
        column = by.startswith(COLUMN)
        what = f"column {by.removeprefix(COLUMN)!r}" if column else f"match of {by.removeprefix(REGEX)!r}"
        return f"{number} groups with the same {what}, each whole" if many else f"the files with the same {what}"

    def _parts(self) -> str:
        if not self.cut:
            return ""
        return f"; groups too large for one are cut: {self.cut:,} of {self.runs:,} runs go on with the group before"

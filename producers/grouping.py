"""Say which files belong together, and cut groups into submissions that keep them whole.

A Kolena run answers each prompt once for all its files. So a group is one run, and two groups don't share one unless
that was asked for. A group that can't be sent as a whole isn't sent at all: an answer about half a case costs as much,
and looks like one about the case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from paceline.chunking import Scale, open_draft
from paceline.errors import UsageError
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile
from producers.filling import Item, Part, Remembering, fill, leave_out

if TYPE_CHECKING:
    from producers.staging import Group

DIRECTORY, COLUMN, REGEX, LIST = "directory", "column:", "regex:", "list"
ROOT = "."
"""The group of the files that lie in no folder beneath the source."""

ALONE = "\0"
"""What the key of a file begins with that a list says belongs to nothing: it is a group of its own, without a name."""

_GROUP = "group"
"""The column of a list that says what belongs together."""

NOT_MISSED = (SkipReason.EMPTY, SkipReason.NOT_REGULAR, SkipReason.UNCHANGED, SkipReason.SAME_CONTENT)
"""Why a file may be left out of its group; for any other reason the group isn't sent."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """What makes a group: `directory`, `column:NAME`, `regex:…`, or `list` (the column `group` of a list).

    `cut`: a group too large for one submission is cut into several instead of left out. `pack`: several groups may
    share a submission.
    """

    by: str
    cut: bool = False
    pack: bool = False

    def group_of(self, entry: SourceFile | SkippedFile) -> str | None:
        """Return the key of a file's group; None where it has none. See `name_of`."""
        if self.by == DIRECTORY:
            return entry.path.rpartition("/")[0] or ROOT
        if self.by == LIST:
            return entry.group or ALONE + entry.path
        if self.by.startswith(COLUMN):
            return _text(_columns(entry).get(self.by.removeprefix(COLUMN))) or None
        found = re.search(self.by.removeprefix(REGEX), entry.path)
        if found is None:
            return None
        return (found[1] if found.re.groups and found[1] is not None else found[0]) or None

    def checked(self, entries: Iterable[SourceFile | SkippedFile]) -> Iterator[SourceFile | SkippedFile]:
        """Give the entries. Raises `UsageError` at their end if they are grouped by a column that none of them has."""
        wanted = self.by.removeprefix(COLUMN) if self.by.startswith(COLUMN) else None
        seen: set[str] = set()
        entry = None
        for entry in entries:
            if wanted is not None and wanted not in seen:
                seen.update(_columns(entry))
            yield entry
        if wanted is not None and wanted not in seen and entry is not None:
            there = f"there are {', '.join(sorted(seen))}" if seen else "it has no columns: name a list (.csv, .jsonl)"
            raise UsageError(f"--group-by {self.by}: the source has no column {wanted!r}; {there}")

    def check(self, entries: Iterable[SourceFile | SkippedFile]) -> None:
        """Look for the column to group by, as far as needed. Raises `UsageError` if no entry has it."""
        if self.by.startswith(COLUMN):
            wanted = self.by.removeprefix(COLUMN)
            next((entry for entry in self.checked(entries) if wanted in _columns(entry)), None)


def name_of(key: str) -> str:
    """Return what stands on record for a group's key: nothing for a file that stands alone."""
    return "" if key.startswith(ALONE) else key


def parse_grouping(text: str | None, *, cut: bool, pack: bool, listed: bool = False) -> Grouping | None:
    """Understand `--group-by`. `listed`: the source is a list that says itself what belongs together.

    Raises `UsageError`.
    """
    if text is None and not listed:
        if cut or pack:
            raise UsageError("--cut-groups and --pack-groups say what to do with groups: add --group-by")
        return None
    by = text or LIST
    if by.startswith(REGEX):
        try:
            re.compile(by.removeprefix(REGEX))
        except re.error as error:
            raise UsageError(f"--group-by {text!r}: no regular expression ({error})") from error
        if by == REGEX:
            raise UsageError(f"--group-by {text!r}: no pattern after the colon; write regex:PATTERN")
    elif by not in (DIRECTORY, LIST) and not (by.startswith(COLUMN) and by != COLUMN):
        raise UsageError(f"--group-by {text!r}: write directory, column:NAME or regex:PATTERN")
    elif by == LIST and not listed:
        raise UsageError(f"--group-by {LIST}: the source is no list with a column {_GROUP!r}")
    return Grouping(by, cut, pack)


def cut_groups(
    groups: Iterable[Group | SkippedFile],
    grouping: Grouping,
    limits: SizeLimits,
    files_per_run: int,
    first_index: int = 1,
    scale: Scale | None = None,
) -> Iterator[PlannedSubmission | SkippedFile]:
    """Cut groups into submissions, numbered from `first_index`. Every file comes out exactly once.

    Of a group that isn't sent, what is to blame keeps its own reason, the others are `group_incomplete`; one that fits
    into no submission is `group_too_large`, file by file. With `cut` that is cut into as few as are found.
    """
    shared = Remembering(scale) if scale is not None else None
    cutter = _Cutter(grouping, limits, files_per_run, shared)
    items = chain.from_iterable(map(cutter.items, groups))
    if grouping.pack:
        yield from fill(items, limits, files_per_run, first_index, shared)
        return
    draft = open_draft(limits, files_per_run, shared)
    index = first_index
    for item in items:
        if isinstance(item, SkippedFile):
            yield item
            continue
        files = item.files if isinstance(item, Part) else item
        if draft.take_all(files):
            yield draft.cut(index)
            index += 1
        else:  # fitted a moment ago: a file of it has changed since
            yield from leave_out(files, SkipReason.GROUP_TOO_LARGE)


class _Cutter:
    """Makes groups into what stays together in a submission."""

    def __init__(self, grouping: Grouping, limits: SizeLimits, files_per_run: int, scale: Remembering | None) -> None:
        self._grouping = grouping
        self._limits = limits
        self._per_run = files_per_run
        self._scale = scale

    def items(self, group: Group | SkippedFile) -> Iterator[Item | Part | SkippedFile]:
        """Give what of a group goes into one submission, or is left out."""
        if isinstance(group, SkippedFile):
            yield group
            return
        yield from group.skipped
        draft = open_draft(self._limits, self._per_run, self._scale)
        refused = {file.path: reason for file in group.files if (reason := draft.refusal(file)) is not None}
        if refused or any(file.reason not in NOT_MISSED for file in group.skipped):
            for file in group.files:
                yield from leave_out([file], refused.get(file.path, SkipReason.GROUP_INCOMPLETE))
        elif not group.files:
            return
        elif draft.take_all(group.files):
            yield group.files
        elif self._grouping.cut:
            yield from self._parts(group.files)
        else:
            yield from leave_out(group.files, SkipReason.GROUP_TOO_LARGE)

    def _parts(self, files: tuple[SourceFile, ...]) -> Iterator[Part | SkippedFile]:
        """Cut a group. Its parts share no run: only what stands together is known again as a group."""
        by_path = {file.path: file for file in files}
        for part in fill(((file,) for file in files), self._limits, self._per_run, scale=self._scale):
            yield part if isinstance(part, SkippedFile) else Part(tuple(by_path[file.path] for file in part.files))


def _columns(entry: SourceFile | SkippedFile) -> dict[str, object]:
    return {**({_GROUP: entry.group} if entry.group else {}), **dict(entry.metadata)}


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    text = str(value)
    return text if text.strip() else ""

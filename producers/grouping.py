"""Say which files belong together, and cut groups into submissions that keep them whole.

A Kolena run answers each prompt once for all its files. So a group is one run, and two groups don't share one unless
that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paceline.chunking import Scale, chunk
from paceline.errors import UsageError
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile

if TYPE_CHECKING:
    from producers.staging import Group

DIRECTORY, COLUMN, REGEX, LIST = "directory", "column:", "regex:", "list"
ROOT = "."
"""The group of the files that lie in no folder beneath the source."""


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
        """Name the group of a file; None where it has none."""
        if self.by == DIRECTORY:
            return entry.path.rpartition("/")[0] or ROOT
        if self.by == LIST:
            return entry.group or f"./{entry.path}"  # said to belong to nothing: it stands alone
        if self.by.startswith(COLUMN):
            value = dict(entry.metadata).get(self.by.removeprefix(COLUMN))
            return str(value) if value not in (None, "") else entry.group or None
        found = re.search(self.by.removeprefix(REGEX), entry.path)
        return (found[1] if found.re.groups else found[0]) if found else None


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
    elif by not in (DIRECTORY, LIST) and not (by.startswith(COLUMN) and by != COLUMN):
        raise UsageError(f"--group-by {text!r}: write directory, column:NAME or regex:PATTERN")
    return Grouping(by, cut, pack)


def cut_groups(
    groups: Iterable[Group | SkippedFile],
    grouping: Grouping,
    limits: SizeLimits,
    files_per_run: int,
    first_index: int = 1,
    scale: Scale | None = None,
) -> Iterator[PlannedSubmission | SkippedFile]:
    """Cut groups into submissions, numbered from `first_index`. Every file comes out exactly once."""
    index = first_index
    for group in groups:
        if isinstance(group, SkippedFile):
            yield group
            continue
        yield from group.skipped
        named = [replace(file, group=group.name) for file in group.files]
        plan = list(chunk(named, limits, files_per_run, index, scale))
        submissions = [entry for entry in plan if isinstance(entry, PlannedSubmission)]
        if len(submissions) > 1 and not grouping.cut:
            for file in named:
                yield SkippedFile(
                    file.path, SkipReason.GROUP_TOO_LARGE, file.size_bytes, file.mtime_ns, file.group, file.metadata
                )
            continue
        yield from plan
        index += len(submissions)

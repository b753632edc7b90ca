"""Fill submissions better than one after the other where bytes bind, looking ahead a bounded way.

Filled in order, a submission ends where the next file doesn't fit, so up to half of it stays empty. Here a number of
them is looked at together: if what is in them fits into fewer, it is moved there, else they stay as they are. So there
are never more than in order. What is moved comes from near by: files share a run with others of the same window.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from paceline.chunking import Scale, open_draft, upload_name
from paceline.model import PlannedFile, PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile

AHEAD = 32
"""Submissions looked at together. Of files of any size up to the limit, 16 make 9.5 % more than bytes alone would need,
32 make 6.4 % more, 64 make 4.6 % more (in order: 33 %)."""

_REMEMBERED = 20_000
"""Weights kept, so that a file is read once though it is tried in several places."""

Item = tuple[SourceFile, ...]
"""Files that stay together; more than one has been tried to fit into a submission of its own."""


class Remembering:
    """A scale that keeps the last weights it had to read."""

    def __init__(self, scale: Scale) -> None:
        self.empty_bytes = scale.empty_bytes
        self.at_most = scale.at_most
        self._scale = scale
        self._known: dict[tuple[str, str], int | None] = {}

    def exactly(self, file: SourceFile, name: str) -> int | None:
        """Return what the file weighs; None if it can't be read."""
        key = file.path, name
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self._scale.exactly(file, name)
        return self._known[key]

    def closely(self, file: SourceFile) -> int:
        """Return what the file weighs if that was read, else what it can weigh at the most; cheap."""
        name = upload_name(file.path)
        weight = self._known.get((file.path, name))
        return self.at_most(file, name) if weight is None else weight


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a group that was cut: a submission of its own, right behind the part before it."""

    files: Item


@dataclass(frozen=True, slots=True)
class _Bin:
    """A submission that is decided on: its items, and its files with their names."""

    items: list[Item]
    files: tuple[PlannedFile, ...]


def fill(
    items: Iterable[Item | Part | SkippedFile],
    limits: SizeLimits,
    files_per_run: int,
    first_index: int = 1,
    scale: Scale | None = None,
) -> Iterator[PlannedSubmission | SkippedFile]:
    """Fill submissions with items, numbered from `first_index`. Every file comes out exactly once.

    As `paceline.chunking.chunk` does, but for the order: at most `AHEAD` submissions are held in memory, and of a
    window the one that is filled least is filled on. A `Part` is given out as it comes.
    """
    filling = _Filling(limits, files_per_run, Remembering(scale) if scale is not None else None)
    index = first_index
    for one in filling.bins(items):
        if isinstance(one, SkippedFile):
            yield one
        else:
            yield PlannedSubmission(index, one.files)
            index += 1


def leave_out(files: Iterable[SourceFile], reason: SkipReason) -> Iterator[SkippedFile]:
    """Give files as skipped ones."""
    for file in files:
        yield SkippedFile(file.path, reason, file.size_bytes, file.mtime_ns, file.group, file.metadata)


class _Filling:
    def __init__(self, limits: SizeLimits, files_per_run: int, scale: Remembering | None) -> None:
        self._limits = limits
        self._per_run = files_per_run
        self._scale = scale
        self._most_files = min(limits.files, files_per_run)
        self._room = math.inf
        if limits.submission_bytes is not None:
            self._room = limits.submission_bytes - (scale.empty_bytes if scale else 0)

    def bins(self, items: Iterable[Item | Part | SkippedFile]) -> Iterator[_Bin | SkippedFile]:
        """Give the submissions, and what can't be in any."""
        draft, kept, window = open_draft(self._limits, self._per_run, self._scale), list[Item](), list[_Bin]()
        for item in items:
            if isinstance(item, SkippedFile):
                yield item
                continue
            if isinstance(item, Part):
                yield from self._made([[item.files]]) or leave_out(item.files, SkipReason.GROUP_TOO_LARGE)
                continue
            if reason := draft.refusal(item[0]) if len(item) == 1 else None:
                yield from leave_out(item, reason)
                continue
            while not draft.take_all(item):
                if not kept:  # fitted a moment ago: a file of it has changed since
                    yield from leave_out(item, SkipReason.GROUP_TOO_LARGE)
                    break
                window.append(_Bin(kept, draft.cut(1).files))
                kept = []
                if len(window) == AHEAD:
                    done, kept = self._settle(window)
                    yield from done
                    window = []
                    for one in kept:
                        draft.take_all(one)
            else:
                kept.append(item)
        if kept:
            window.append(_Bin(kept, draft.cut(1).files))
        yield from self._fewer(window) or window

    def _settle(self, window: list[_Bin]) -> tuple[list[_Bin], list[Item]]:
        """Return what a full window becomes: submissions, and what the next one begins with if there are fewer now.

        Filling on is worth it only then, and only then are there surely never more than in order.
        """
        fewer = self._fewer(window)
        if not fewer:
            return window, []
        least = min(fewer, key=lambda one: self._share(len(one.files), sum(map(self._weight, one.items))))
        return [one for one in fewer if one is not least], least.items

    def _weight(self, item: Item) -> int:
        return sum(self._scale.closely(file) if self._scale else file.size_bytes for file in item)

    def _fewer(self, window: list[_Bin]) -> list[_Bin]:
        """Return fewer submissions with what is in the window, as few as are found; empty if there are none.

        Tried first in the order of the listing, which leaves most where it is, then the largest first.
        """
        items = [item for one in window for item in one.items]
        sizes = [(len(item), self._weight(item)) for item in items]
        files, weight = sum(count for count, _ in sizes), sum(weight for _, weight in sizes)
        least = max(math.ceil(files / self._most_files), math.ceil(weight / self._room))
        found, most = list[list[int]](), len(window) - 1
        by_size = sorted(range(len(items)), key=lambda at: self._share(*sizes[at]), reverse=True)
        for order in (range(len(items)), by_size):
            if most < least:
                break
            if packed := self._pack(order, sizes, most):
                found, most = packed, len(packed) - 1
        return self._made([[items[at] for at in sorted(one)] for one in sorted(found, key=min)])

    def _share(self, count: int, weight: int) -> float:
        """Return how much of a submission this takes."""
        return max(count / self._most_files, weight / self._room)

    def _pack(self, order: Iterable[int], sizes: Sequence[tuple[int, int]], most: int) -> list[list[int]]:
        """Put each into the first bin that has room; empty if that takes more than `most` bins."""
        bins: list[list[int]] = []
        left: list[list[float]] = []
        for at in order:
            count, weight = sizes[at]
            place = next((n for n, room in enumerate(left) if room[0] >= count and room[1] >= weight), len(bins))
            if place == len(bins):
                if place == most:
                    return []
                bins.append([])
                left.append([self._most_files, self._room])
            bins[place].append(at)
            room = left[place]
            room[0] -= count
            room[1] -= weight
        return bins

    def _made(self, bins: list[list[Item]]) -> list[_Bin]:
        """Give the files their names; empty where that can't be done, or true weights are too much."""
        made: list[_Bin] = []
        for items in bins:
            draft = open_draft(self._limits, self._per_run, self._scale)
            if not all(draft.take_all(item) for item in items):
                return []
            made.append(_Bin(items, draft.cut(1).files))
        return made

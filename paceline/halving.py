"""Number the halves of a submission and cut its files between them, so that ids alone tell who is half of whom.

A submission of the manifest is node 1 of a binary heap, its halves are nodes 2 and 3, theirs 4 to 7, and so on. The
index of node k > 1 of submission i is k · 10⁹ + i: an index like any other, so that a half is a submission like any
other, under an id that is found again without any record of the halving.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

FIRST = 10**9
"""Indexes from here on are halves'; the same number stands in `lua/ledger.lua`."""

REASON = "split"
"""Why a submission failed whose files are with its halves now."""

RUNS = 2
"""What one halving costs."""

REASONS = ("run_failed", "rejected")
"""What may be the fault of a single file. Anything else would only fail again."""

File = TypeVar("File")


def is_half(index: int) -> bool:
    """Tell whether an index is a half's."""
    return index >= FIRST


def root_of(index: int) -> int:
    """Return the index of the manifest's submission that a half comes from; of another, its own."""
    return index % FIRST


def halves_of(index: int) -> tuple[int, int]:
    """Return the indexes of both halves, the one with the earlier files first."""
    node, root = max(index // FIRST, 1), root_of(index)
    return 2 * node * FIRST + root, (2 * node + 1) * FIRST + root


def parent_of(index: int) -> int | None:
    """Return the index that this one is a half of; None for a submission of the manifest."""
    node, root = divmod(index, FIRST)
    if node == 0:
        return None
    return root if node < 4 else (node // 2) * FIRST + root


def place(index: int) -> tuple[int, ...]:
    """Return what orders indexes as records are: each before its halves, and all in the order of their files."""
    node, root = divmod(index, FIRST)
    return root, *(int(bit) for bit in f"{max(node, 1):b}"[1:])


def cut(files: Sequence[File]) -> tuple[Sequence[File], Sequence[File]]:
    """Cut files into halves, in their order; of an odd number the first half has one more.

    Files with a group stay with it: the cut is the one nearest the middle that leaves all groups whole. Without one,
    the second half is empty: such files can't be halved.
    """
    middle = (len(files) + 1) // 2
    places = [place for place in range(1, len(files)) if _may_part(files[place - 1], files[place])]
    place = min(places, key=lambda place: (abs(place - middle), place), default=len(files))
    return files[:place], files[place:]


def divisible(files: Sequence[File]) -> bool:
    """Tell whether files can be halved."""
    return bool(cut(files)[1])


def _may_part(one: object, other: object) -> bool:
    """Tell whether a cut may lie between two files: those of a group stand together."""
    group = getattr(one, "group", "")
    return not group or group != getattr(other, "group", "")


def in_order(last: int, halves: Iterable[int], skip: int = 0) -> Iterator[int]:
    """Give the indexes from 1 to `last` with the halves among them, ordered by `place`; the first `skip` are left out.

    Leaving out costs nothing, so a hundred thousand may be gone through in slices.
    """
    of: defaultdict[int, list[int]] = defaultdict(list)
    for half in halves:
        if root_of(half) <= last:
            of[root_of(half)].append(half)
    first = 1
    for stop in sorted({*of, last}):
        for some in (range(first, stop + 1), sorted(of.get(stop, ()), key=place)):
            yield from some[skip:]
            skip -= min(skip, len(some))
        first = stop + 1


def complete(halves: Iterable[int]) -> frozenset[int]:
    """Return halves with all that must exist because they do: what they are halves of, and the other halves."""
    found: set[int] = set()
    for index in halves:
        at: int | None = index
        while at is not None and is_half(at) and at not in found:
            at = parent_of(at)
            found.update(halves_of(at) if at is not None else ())
    return frozenset(found)


def unfold(index: int, files: Sequence[File], halves: Collection[int]) -> Iterator[tuple[int, Sequence[File]]]:
    """Give a submission and, where they are among `halves`, its halves with their files, ordered by `place`."""
    yield index, files
    if halves_of(index)[0] in halves:
        for half, part in zip(halves_of(index), cut(files), strict=True):
            yield from unfold(half, part, halves)

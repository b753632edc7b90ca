"""List folders and files of this machine, one or many, in one order.

Many are listed as one set beneath the deepest folder that holds them all. Where they are in no common order (several
globs, which may name the same files) they are merged, so that each file comes once.
"""

from __future__ import annotations

import heapq
import os
import stat
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from paceline.model import SkippedFile, SourceFile
from paceline.roots import is_address
from producers.filters import Filter
from producers.found import regular
from producers.walking import path_key, walk


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder, or a single file, and what of it is wanted. `beneath` is as in `walk`."""

    root: str
    choose: Filter | None = None
    hidden: bool = False
    beneath: str = ""

    @property
    def ordered(self) -> bool:
        """Always."""
        return True

    def key(self, path: str) -> tuple[str, ...]:
        """Return the path's components."""
        return path_key(path)

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """List it in the order of `producers.walking`."""
        return walk(
            self.root,
            after=after,
            exclude=exclude,
            choose=self.choose,
            hidden=self.hidden,
            beneath=self.beneath,
        )


@dataclass(frozen=True, slots=True)
class Forest:
    """Folders and files beneath `location`, none within another; `parts` are their paths there, in order of `key`.

    `globs` are folders with what is wanted of them, and may overlap with everything.
    """

    location: str
    parts: tuple[str, ...]
    choose: Filter | None = None
    hidden: bool = False
    globs: tuple[Tree, ...] = ()

    @property
    def ordered(self) -> bool:
        """Always."""
        return True

    def key(self, path: str) -> tuple[str, ...]:
        """Return the path's components."""
        return path_key(path)

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """List all parts in the order of `producers.walking`. What is gone since it was named is a row `missing`."""
        out = tuple(os.path.realpath(place) for place in exclude if not is_address(place))
        parts = self._of_parts(after, out)
        if not self.globs:
            return parts
        globs = [_behind(tree, after, out) for tree in self.globs if not _is_within(tree.root, out)]
        return _once(heapq.merge(parts, *globs, key=lambda entry: path_key(entry.path)))

    def _of_parts(self, after: str | None, exclude: Collection[str]) -> Iterator[SourceFile | SkippedFile]:
        first = 0 if after is None else bisect_left([path_key(part) for part in self.parts], path_key(after))
        for part in self.parts[max(first - 1, 0) :]:  # the one before may be a folder that holds `after`
            root = beneath(self.location, part)
            if _is_within(root, exclude) or not self._is_reached(part, root):
                continue
            entry = _regular(root, part)  # most are files: a walk for each would take long
            if entry is None:
                yield from _behind(Tree(root, self.choose, self.hidden, part), after, exclude)
            elif self._is_wanted(part, after):
                yield entry

    def _is_wanted(self, part: str, after: str | None) -> bool:
        before = after is not None and path_key(part) <= path_key(after)
        return not before and (self.choose is None or self.choose.takes(part))

    def _is_reached(self, part: str, root: str) -> bool:
        if self.choose is None:
            return True
        folder = part if os.path.isdir(root) else part.rpartition("/")[0]  # noqa: PTH112 - of a hundred thousand
        return not folder or self.choose.reaches(folder)


def beneath(location: str, path: str) -> str:
    """Join a location and a path in it; the location may be `/`."""
    return f"{location.rstrip('/')}/{path}"


def relative_to(location: str, path: str) -> str:
    """Return a path as seen from a location that holds it; empty for the location itself."""
    return path[len(location.rstrip("/")) + 1 :]


def outermost(paths: Sequence[str]) -> list[str]:
    """Return those of some absolute paths that lie in no other of them, each once, in order of their components."""
    kept = list[str]()
    for path in sorted(set(paths), key=path_key):
        if not kept or not path.startswith(kept[-1].rstrip("/") + "/"):
            kept.append(path)
    return kept


def _regular(root: str, path: str) -> SourceFile | SkippedFile | None:
    """Look at a path; None unless a regular file is there."""
    try:
        found = os.stat(root, follow_symlinks=False)  # noqa: PTH116 - of a hundred thousand
        if not stat.S_ISREG(found.st_mode):
            return None
        return regular(path, found, readable=os.access(root, os.R_OK, effective_ids=True))
    except OSError:
        return None


def _behind(tree: Tree, after: str | None, exclude: Collection[str]) -> Iterator[SourceFile | SkippedFile]:
    """List a part behind a path that may lie before it, in it or behind it."""
    top = path_key(tree.beneath) if tree.beneath else ()
    if after is None or path_key(after) < top:
        return tree.entries(exclude=exclude)
    if path_key(after)[: len(top)] != top:
        return iter(())
    return tree.entries(after=after, exclude=exclude)


def _is_within(path: str, places: Collection[str]) -> bool:
    """Tell whether a path is one of the places, all symlinks resolved, or lies in one."""
    return any(path == place or path.startswith(place + "/") for place in places)


def _once(entries: Iterator[SourceFile | SkippedFile]) -> Iterator[SourceFile | SkippedFile]:
    last = None
    for entry in entries:
        if entry.path != last:
            yield entry
        last = entry.path

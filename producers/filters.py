"""Say which of the files that are found belong to the set.

A pattern without a slash is compared with the names of files, for `--exclude` with those of folders too; one with a
slash with the path relative to the source. A slash at its end says that a folder is meant, and all that is in it. An
excluded folder isn't entered, nor one in which nothing can match.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from paceline.errors import UsageError
from producers.patterns import (
    ANY_DEPTH,
    Fold,
    any_of,
    fold_case,
    folder_expression,
    keep_case,
    name_expression,
    parts_of,
    path_expression,
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What was asked of a set beside its place; the defaults take everything but hidden files.

    `include` and `exclude` are patterns; `case_sensitive` is how they, and a glob, are compared.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    case_sensitive: bool = False
    hidden: bool = False

    def options(self) -> tuple[tuple[str, str], ...]:
        """Return what differs from the defaults, as options of a batch: other rules are another batch."""
        said = {
            "include": json.dumps(sorted(set(self.include))) if self.include else "",
            "exclude": json.dumps(sorted(set(self.exclude))) if self.exclude else "",
            "case": "sensitive" if self.case_sensitive else "",
            "hidden": "yes" if self.hidden else "",
        }
        return tuple((f"source:{name}", value) for name, value in said.items() if value)

    def filter(self, glob: str | None = None) -> Filter | None:
        """Return what the patterns let through, and of that what matches `glob`; None for everything.

        Raises `UsageError` for a pattern that can't be one.
        """
        if not self.include and not self.exclude and glob is None:
            return None
        for pattern in (*self.include, *self.exclude):
            _check(pattern)
        fold = keep_case if self.case_sensitive else fold_case
        include = _wanted(self.include, fold) if self.include else None
        return Filter(fold, include, _unwanted(self.exclude, fold), None if glob is None else _wanted([glob], fold, 1))


Expression = re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Patterns of which one has to match. `folders`: where something can match at all; None: everywhere."""

    names: Expression | None
    paths: Expression | None
    folders: Expression | None

    def takes(self, path: str, name: str) -> bool:
        """Tell whether a file matches."""
        return bool((self.names and self.names.fullmatch(name)) or (self.paths and self.paths.fullmatch(path)))


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Patterns of which none may match: `names` and `paths` of files and folders, the others of folders alone."""

    names: Expression | None
    paths: Expression | None
    folder_names: Expression | None
    folder_paths: Expression | None


@dataclass(frozen=True, slots=True)
class Filter:
    """What of a set is wanted. Paths are relative to the source."""

    fold: Fold
    include: Wanted | None
    exclude: Unwanted
    glob: Wanted | None

    def takes(self, path: str) -> bool:
        """Tell whether a file is wanted, given that the folders that hold it are."""
        path = self.fold(path)
        name = path[path.rfind("/") + 1 :]
        if self.include is not None and not self.include.takes(path, name):
            return False
        if self.glob is not None and not self.glob.takes(path, name):
            return False
        out = self.exclude
        return not ((out.names and out.names.fullmatch(name)) or (out.paths and out.paths.fullmatch(path)))

    def enters(self, path: str) -> bool:
        """Tell whether anything in a folder can be wanted, given that the folders that hold it are."""
        path = self.fold(path)
        for wanted in (self.include, self.glob):
            if wanted is not None and wanted.folders is not None and not wanted.folders.fullmatch(path):
                return False
        out, name = self.exclude, path[path.rfind("/") + 1 :]
        by_name = (out.names and out.names.fullmatch(name)) or (out.folder_names and out.folder_names.fullmatch(name))
        return not (
            by_name
            or (out.paths and out.paths.fullmatch(path))
            or (out.folder_paths and out.folder_paths.fullmatch(path))
        )

    def reaches(self, path: str) -> bool:
        """Tell whether a folder, and all folders that hold it, are entered."""
        return all(self.enters(path[:at]) for at in [*_slashes(path), len(path)] if at)

    def takes_named(self, path: str) -> bool:
        """Tell whether a file is wanted, wherever it is."""
        folder = path.rpartition("/")[0]
        return self.takes(path) and (not folder or self.reaches(folder))


def _slashes(path: str) -> Iterable[int]:
    return (found.start() for found in re.finditer("/", path))


def _wanted(patterns: Iterable[str], fold: Fold, least_slashes: int = 0) -> Wanted:
    """Compile; with `least_slashes` of 1 each pattern is one for paths."""
    names, paths, folders, anywhere = list[str](), list[str](), list[str](), False
    for pattern in patterns:
        parts = parts_of(pattern)
        if pattern.endswith("/"):
            parts.append(ANY_DEPTH)
            if "/" not in pattern[:-1] and not least_slashes:
                parts.insert(0, ANY_DEPTH)
        elif "/" not in pattern and not least_slashes:
            names.append(name_expression(pattern, fold))
            anywhere = True
            continue
        paths.append(path_expression(parts, fold))
        if found := folder_expression(parts, fold):
            folders.append(found)
    within = any_of(folders) or re.compile("(?!)")
    return Wanted(any_of(names), any_of(paths), None if anywhere else within)


def _unwanted(patterns: Iterable[str], fold: Fold) -> Unwanted:
    found: dict[str, list[str]] = {"names": [], "paths": [], "folder_names": [], "folder_paths": []}
    for pattern in patterns:
        parts = parts_of(pattern)
        only = "folder_" if pattern.endswith("/") else ""
        if "/" in pattern.rstrip("/"):
            found[f"{only}paths"].append(path_expression(parts, fold))
        else:
            found[f"{only}names"].append(name_expression(parts[0], fold))
    return Unwanted(**{name: any_of(expressions) for name, expressions in found.items()})


def _check(pattern: str) -> None:
    if pattern.startswith("!"):
        raise UsageError(
            f"pattern {pattern!r}: '!' turns nothing around here; use --include and --exclude, or write \\! for the"
            " character"
        )

"""Understand what SOURCE means: where a file set is, and how it is listed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from paceline.errors import UsageError
from paceline.model import SkippedFile, SourceFile
from producers.filters import Rules
from producers.walking import not_found, path_key, walk

SUPPORTED = "a folder, a single file, or an address like s3://bucket/prefix/"


class SourceKind(StrEnum):
    """What a file set is made from."""

    FOLDER = "folder"
    FILE = "file"


class Listing(Protocol):
    """The files of a set, one after the other, without their contents."""

    @property
    def ordered(self) -> bool:
        """Tell whether entries come in the order of `key`, so that a listing can be taken up behind any path."""

    def key(self, path: str) -> Any:
        """Return what the order compares; only of an ordered listing."""

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """List the set; of an ordered one, what comes behind `after`.

        `exclude` holds absolute folders, files and addresses that are never part of a set: outputs, `PACELINE_HOME`.
        Raises `UsageError` if the source can't be read.
        """


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder, or a single file, of this machine."""

    root: str

    @property
    def ordered(self) -> bool:
        """Always."""
        return True

    def key(self, path: str) -> tuple[str, ...]:
        """Return the path's components."""
        return path_key(path)

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """List it in the order of `producers.walking`."""
        return walk(self.root, after=after, exclude=exclude)


@dataclass(frozen=True, slots=True)
class Source:
    """A file set by name.

    `location` is what `BatchSpec.source` wants, and what paths are relative to: an absolute path with all symlinks
    resolved, or an address (see `paceline.roots.open_root`). `options` are what else makes it this set and no other
    (patterns, a list's digest), by name: they become options of the batch. `groups` tells whether the listing itself
    says which files belong together.
    """

    location: str
    kind: SourceKind
    listing: Listing
    options: tuple[tuple[str, str], ...] = ()
    groups: bool = field(default=False, compare=False)


def resolve_sources(texts: Sequence[str], rules: Rules, home: Path) -> Source:
    """Understand the SOURCE arguments together. `home` is where a list that can be read only once is kept.

    Raises `UsageError` that names what is wrong and says what would do.
    """
    if len(texts) != 1:
        raise UsageError(f"several sources at once are not supported yet; name {SUPPORTED}")
    if rules != Rules():
        raise UsageError("--include, --exclude and --hidden are not supported yet")
    return resolve_source(texts[0])


def resolve_source(text: str) -> Source:
    """Understand the SOURCE argument. Raises `UsageError` that names it and says what would do."""
    if not text:
        raise UsageError(f"no source given: name {SUPPORTED}")
    if text == "-":
        raise UsageError(f"source '-': paths on stdin are not supported yet; name {SUPPORTED}")
    if "://" in text:
        from producers.prefixes import resolve_address

        return resolve_address(text)
    try:
        location = os.path.realpath(text, strict=True)
        mode = Path(location).stat().st_mode
    except (OSError, ValueError) as error:
        raise UsageError(not_found(text, error)) from error
    if stat.S_ISDIR(mode):
        if not os.access(location, os.R_OK | os.X_OK, effective_ids=True):
            raise UsageError(f"source {text!r} can't be listed: make the folder readable for this user")
        return Source(location, SourceKind.FOLDER, Tree(location))
    if not stat.S_ISREG(mode):
        raise UsageError(f"source {text!r} is neither a folder nor a regular file: name {SUPPORTED}")
    if location.endswith((".csv", ".jsonl")):
        raise UsageError(f"source {text!r}: manifests are not supported yet; name the folder with the files")
    return Source(location, SourceKind.FILE, Tree(location))

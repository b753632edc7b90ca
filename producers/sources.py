"""Understand what SOURCE means: where a file set is, and how it is listed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from paceline.errors import UsageError
from paceline.model import SkippedFile, SourceFile
from producers.filters import Rules
from producers.lists import Kept, ListedFiles, keep_list
from producers.patterns import escape_parts, is_pattern, parts_of, unescape
from producers.piped import read_stdin
from producers.saved import Saved
from producers.tables import SUFFIXES, read_table
from producers.trees import Forest, Tree, beneath, outermost, relative_to
from producers.walking import not_found

SUPPORTED = (
    "a folder, files, a pattern like 'docs/**/*.pdf', a list (x.csv, x.jsonl), - for paths on"
    " stdin, or an address like s3://bucket/prefix/"
)
STDIN = "-"
FILES_ALONE = frozenset({"source:list", "source:files"})
"""Options of sets that hold what was named and nothing else: what is put beside the files never becomes part of one."""


class SourceKind(StrEnum):
    """What a file set is made from."""

    FOLDER = "folder"
    FILE = "file"
    GLOB = "glob"  # a folder and a pattern
    SEVERAL = "several"  # folders and files beneath a common folder
    LIST = "list"  # paths on stdin, or a table of them
    PLAN = "plan"


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
class Source:
    """A file set by name.

    `location` is what `BatchSpec.source` wants, and what paths are relative to: an absolute path with all symlinks
    resolved, or an address (see `paceline.roots.open_root`). `options` are what else makes it this set and no other
    (patterns, a list's digest), by name: they become options of the batch. `groups` tells whether the listing itself
    says which files belong together. `saved` is the plan that was made of it, which is then run as it stands.
    `nothing` says in words that the set is empty.
    """

    location: str
    kind: SourceKind
    listing: Listing
    options: tuple[tuple[str, str], ...] = ()
    groups: bool = field(default=False, compare=False)
    nothing: str = field(default="", compare=False)
    saved: Saved | None = field(default=None, compare=False)


def resolve_sources(texts: Sequence[str], rules: Rules, home: Path, apart: Collection[str] = ()) -> Source:
    """Understand the SOURCE arguments together. `home` is where a list that can be read only once is kept.

    Of several arguments those that lie in `apart`, absolute paths of outputs, don't count: `*` names them too.
    Raises `UsageError` that names what is wrong and says what would do.
    """
    if not all(texts):
        raise UsageError(f"no source given: name {SUPPORTED}")
    if STDIN in texts:
        if len(texts) > 1:
            raise UsageError("source '-' stands alone: put the other sources' paths into the list, too")
        return _list(keep_list(read_stdin(), "stdin", str(Path.cwd()), home), "the list on stdin", rules)
    addresses = [text for text in texts if "://" in text]
    if addresses:
        if len(addresses) < len(texts):
            raise UsageError(f"source {addresses[0]!r}: addresses and paths don't go together; run them apart")
        if len(addresses) > 1:
            raise UsageError(f"source {addresses[1]!r}: several addresses make a set only in a list (x.csv, or -)")
        from producers.prefixes import resolve_address

        return resolve_address(addresses[0], rules)
    if len(texts) > 1:
        return _several(texts, rules, apart)
    return _table(texts[0], rules, home) if _is_table(texts[0]) else resolve_source(texts[0], rules)


def resolve_source(text: str, rules: Rules | None = None) -> Source:
    """Understand a SOURCE that is a folder, a file or a glob. Raises `UsageError` as `resolve_sources` does."""
    rules = rules or Rules()
    place = _place(text)
    if isinstance(place, _Glob):
        return _of_glob(place, rules)
    kind = SourceKind.FOLDER if place.is_folder else SourceKind.FILE
    tree = Tree(place.path, rules.filter(), rules.hidden)
    return Source(place.path, kind, tree, rules.options(), nothing=no_files(repr(place.path), rules))


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder or file that is there, all symlinks resolved."""

    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class _Glob:
    """A folder that is there, and a pattern for the paths in it."""

    text: str
    folder: str
    pattern: str


def _place(text: str, folders: dict[str, str] | None = None) -> _Place | _Glob:
    """Find what an argument names. Something of exactly this name is preferred to a pattern.

    `folders` remembers what folders really are, for the next of many arguments.
    """
    try:
        path = _real_path(text, {} if folders is None else folders)
        mode = os.stat(path).st_mode  # noqa: PTH116 - of a hundred thousand
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and is_pattern(text):
            return _glob(text)
        raise UsageError(not_found(text, error)) from error
    if stat.S_ISDIR(mode):
        if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
            raise UsageError(f"source {text!r} can't be listed: make the folder readable for this user")
        return _Place(path, is_folder=True)
    if not stat.S_ISREG(mode):
        raise UsageError(f"source {text!r} is neither a folder nor a regular file: name {SUPPORTED}")
    return _Place(path, is_folder=False)


def _real_path(text: str, folders: dict[str, str]) -> str:
    folder, name = os.path.split(text)
    if name in ("", ".", "..") or os.path.islink(text):  # noqa: PTH114 - of a hundred thousand
        return os.path.realpath(text, strict=True)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder or ".", strict=True)
    return beneath(folders[folder], name)


def _glob(text: str) -> _Glob:
    parts = text.split("/")
    first = next(at for at, part in enumerate(parts) if is_pattern(part))
    folder = unescape("/".join(parts[:first])) or ("/" if first else ".")
    pattern = "/".join(parts_of("/".join(parts[first:]))) + ("/**" if text.endswith("/") else "")
    try:
        path = os.path.realpath(folder, strict=True)
        names = os.listdir(path)
    except (OSError, ValueError) as error:
        raise UsageError(not_found(folder, error)) from error
    del names  # it was to see that the folder can be listed
    return _Glob(text, path, pattern)


def _of_glob(glob: _Glob, rules: Rules) -> Source:
    tree = Tree(glob.folder, rules.filter(glob.pattern), rules.hidden)
    nothing = f"no file matches {glob.text!r}, and none has exactly this name{_hint(rules)}"
    if "*" in glob.pattern and "**" not in glob.pattern:
        nothing += "; * stays within a folder, ** doesn't"
    options = (("source:glob", glob.pattern), *rules.options())
    return Source(glob.folder, SourceKind.GLOB, tree, options, nothing=nothing)


def _several(texts: Sequence[str], rules: Rules, apart: Collection[str]) -> Source:
    if all(_is_table(text) and not is_pattern(text) for text in texts):
        raise UsageError(
            f"sources {texts[0]!r} and {texts[1]!r} are lists: run each alone, or make one of them; to send them as"
            " documents, name their folder with --include '*.csv'"
        )
    folders_known: dict[str, str] = {}
    found = [_place(text, folders_known) for text in texts]
    out = [os.path.realpath(place) for place in apart]
    _refuse_within(texts, found, out)
    folders = {one.path for one in found if isinstance(one, _Place) and one.is_folder}
    places = [one.path for one in found if isinstance(one, _Place) and not _lies_in(one.path, out)]
    parts = outermost(places)
    globs = sorted({one for one in found if isinstance(one, _Glob)}, key=lambda one: (one.folder, one.pattern))
    globs = [one for one in globs if not _lies_in(one.folder, [part for part in parts if part in folders])]
    if not globs and len(parts) == 1:
        kind = SourceKind.FOLDER if parts[0] in folders else SourceKind.FILE
        tree = Tree(parts[0], rules.filter(), rules.hidden)
        return Source(parts[0], kind, tree, rules.options(), nothing=no_files(repr(parts[0]), rules))
    if not parts and len({(one.folder, one.pattern) for one in globs}) == 1:
        return _of_glob(globs[0], rules)
    if not parts and not globs:
        raise UsageError(f"all {len(texts)} sources lie in the output: name another --to")
    location = os.path.commonpath([*parts, *(one.folder for one in globs)])
    relative = tuple(relative_to(location, part) for part in parts)
    trees = {"/".join([*escape_parts(relative_to(location, one.folder)), one.pattern]): one for one in globs}
    listing = Forest(
        location,
        relative,
        rules.filter(),
        rules.hidden,
        tuple(
            Tree(one.folder, rules.filter(pattern), rules.hidden, relative_to(location, one.folder))
            for pattern, one in sorted(trees.items())
        ),
    )
    digest = hashlib.sha256(json.dumps([relative, sorted(trees)]).encode()).hexdigest()
    name = "source:files" if not globs and folders.isdisjoint(parts) else "source:parts"
    options = ((name, digest), *rules.options())
    nothing = no_files(f"the {len(texts):,} sources beneath {location!r}", rules)
    return Source(location, SourceKind.SEVERAL, listing, options, nothing=nothing)


def _refuse_within(texts: Sequence[str], found: Sequence[_Place | _Glob], out: Sequence[str]) -> None:
    """Refuse sources that lie in an output: they would be left out with it. Raises `UsageError`."""
    for text, one in zip(texts, found, strict=True):
        path = one.path if isinstance(one, _Place) else one.folder
        if _lies_in(path, out) and (isinstance(one, _Glob) or path not in out):
            place = next(place for place in out if _lies_in(path, [place]))
            raise UsageError(f"source {text!r} lies in the output {place!r}: name another --to")


def _table(text: str, rules: Rules, home: Path) -> Source:
    """Understand a list with columns. Paths in it are relative to the folder it is named in."""
    place = _place(text)
    if isinstance(place, _Glob) or place.is_folder:
        return resolve_source(text, rules)
    base = os.path.realpath(os.path.dirname(text) or ".")  # noqa: PTH120 - a Path would lose a leading ./
    return _list(keep_list(read_table(text), text, base, home), f"the list {text!r}", rules)


def _list(kept: Kept, name: str, rules: Rules) -> Source:
    listing = ListedFiles(kept.location, kept.file, rules.filter())
    options = (("source:list", kept.digest), *rules.options())
    nothing = f"{name} names no file{_hint(replace(rules, hidden=True))}"
    return Source(kept.location, SourceKind.LIST, listing, options, kept.groups, nothing)


def _is_table(text: str) -> bool:
    return text.lower().endswith(SUFFIXES)


def _lies_in(path: str, places: Collection[str]) -> bool:
    return any(path == place or path.startswith(place.rstrip("/") + "/") for place in places)


def no_files(what: str, rules: Rules) -> str:
    """Say that a set is empty, and what else might be meant."""
    return f"{what} has no file to run{_hint(rules)}"


def _hint(rules: Rules) -> str:
    said = [] if rules.hidden else ["hidden files don't count without --hidden"]
    if rules.include:
        said.append(f"only those like {' or '.join(map(repr, rules.include))} do")
    return f" ({', '.join(said)})" if said else ""

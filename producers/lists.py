"""Keep what a list names, so that it can be read as often as needed: stdin comes only once, and a table may change.

A list is kept at `PACELINE_HOME/lists/DIGEST`: a line of JSON for each path, in the list's order, each path once and
relative to the folder that holds them all. The digest is that of these bytes, so the same list in other words (an
absolute path for a relative one, NUL for newline) is the same set.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from paceline import jsonl
from paceline.beneath import OF_THIS_COMPUTER, parent_of
from paceline.durable import Aside, make_private_dir, sync_dir, writing
from paceline.errors import UsageError
from paceline.model import Metadata, SkippedFile, SkipReason, SourceFile
from paceline.roots import URLS, is_address
from producers.filters import Filter
from producers.found import GONE, followed, regular, special

_AT_A_TIME = 10_000
_ODD = re.compile(r"/\.{0,2}(?:/|\Z)")
_SCHEMA = "CREATE TABLE entry (position INTEGER PRIMARY KEY, path BLOB NOT NULL, line INTEGER NOT NULL, said TEXT)"
_CONFLICT = """
    SELECT one.path, one.line, one.said, two.line, two.said FROM entry AS one JOIN entry AS two ON one.path = two.path
    WHERE one.position < two.position AND one.said IS NOT two.said
"""
_REPEATED = """
    DELETE FROM entry WHERE EXISTS
    (SELECT 1 FROM entry AS other WHERE other.path = entry.path AND other.position < entry.position)
"""


@dataclass(frozen=True, slots=True)
class Named:
    """A file as a list names it, on `line` (from 1), and what it says of it."""

    path: str
    line: int
    group: str = ""
    priority: int = 0
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A list that is kept in `file`. `location` is what its paths are relative to; `groups`: some have a group."""

    location: str
    file: str
    digest: str
    groups: bool


def keep_list(names: Iterable[Named], what: str, base: str, home: Path) -> Kept:
    """Read a list to its end and keep it. Paths are relative to `base`, a folder with all symlinks resolved.

    Where all of them lie beneath it, that is the location (unless every path is absolute), else the deepest folder
    that holds them all. Memory doesn't grow with the list. Raises `UsageError`, with `what` and the lines, where a path
    is said to be two things, and where addresses and paths are mixed.
    """
    folder = home / "lists"
    make_private_dir(str(folder))
    with closing(sqlite3.connect("")) as data:  # a temporary file, gone with this process
        data.execute(_SCHEMA)
        common = _fill(data, names, what, base)
        location = common.location()
        data.execute("CREATE INDEX by_path ON entry (path)")
        if data.execute("SELECT 1 FROM entry GROUP BY path HAVING COUNT(*) > 1 LIMIT 1").fetchone():
            _refuse_conflicts(data, what, base)
            data.execute(_REPEATED)
        digest, target = hashlib.sha256(), str(folder / "list")
        with writing(target), Aside(target) as aside:
            for line in _lines(data, 0 if location == URLS else len(location.rstrip("/")) + 1):
                digest.update(line)
                aside.write(line)
            aside.seal()
            target = str(folder / digest.hexdigest())
            aside.publish(target)
            sync_dir(str(folder))
    real = location if location == URLS else os.path.realpath(location)
    return Kept(real, target, digest.hexdigest(), common.groups)


@dataclass(frozen=True, slots=True)
class ListedFiles:
    """The files of a kept list, in its order, and what of them is wanted.

    Whatever is named is a file of the set: what isn't there is a row `missing`, a folder one `not_regular`. A symlink
    is followed beneath `location` and nowhere else.
    """

    location: str
    file: str
    choose: Filter | None = None

    @property
    def ordered(self) -> bool:
        """Never: it has the order it was given."""
        return False

    def key(self, path: str) -> Any:
        """Never asked for."""
        raise NotImplementedError

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """List it from its beginning, whatever `after` is."""
        if self.location == URLS:
            from producers.prefixes import look_up

            outputs = tuple(f"{place}/" for place in exclude if is_address(place))
            with open(self.file, "rb") as stream:
                for row in jsonl.read(stream) if outputs else ():
                    if f"{row['path']}/".startswith(outputs) and self._takes(row["path"]):
                        left = SkippedFile(row["path"], SkipReason.IN_OUTPUT)
                        yield _with(left, row) if len(row) > 1 else left
                stream.seek(0)
                rows = (row for row in jsonl.read(stream) if self._takes_address(row["path"], outputs))
                yield from (_with(entry, row) if len(row) > 1 else entry for row, entry in look_up(rows))
            return
        within = os.path.realpath(self.location).rstrip("/") + "/"
        places = [os.path.realpath(place) + "/" for place in exclude if not is_address(place)]
        out = tuple(place.removeprefix(within) for place in places if place.startswith(within))
        look = _Look(self.location)
        with open(self.file, encoding="utf-8", newline="\n") as lines:
            for row in map(json.loads, lines):
                path = row["path"]
                if not self._takes(path):
                    continue
                inside = f"{path}/".startswith(out)
                entry = SkippedFile(path, SkipReason.IN_OUTPUT) if inside else look.at(path)
                if len(row) > 1:
                    entry = _with(entry, row)
                yield entry

    def _takes_address(self, path: str, outputs: tuple[str, ...]) -> bool:
        return not f"{path}/".startswith(outputs) and self._takes(path)

    def _takes(self, path: str) -> bool:
        return self.choose is None or self.choose.takes_named(path)


class _Look:
    """Looks at paths beneath a folder, remembering which of their folders symlinks lead to."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._top = location.rstrip("/") + "/"
        self._me = os.geteuid()
        self._is_plain = lru_cache(10_000)(self._has_no_links)

    def at(self, path: str) -> SourceFile | SkippedFile:
        """Say what a path is."""
        whole = self._top + path
        try:
            if not self._is_plain(path.rpartition("/")[0]):
                return self._through_links(path)
            try:
                found = os.stat(whole, follow_symlinks=False)  # noqa: PTH116 - of millions
                ours = found.st_uid == self._me and found.st_mode & stat.S_IRUSR
                readable = bool(ours or os.access(whole, os.R_OK, effective_ids=True))
            except OSError as error:
                if error.errno in GONE or error.errno in OF_THIS_COMPUTER:
                    raise
                with parent_of(self._location, path) as (folder, name):  # for longer paths than the kernel takes
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    readable = os.access(name, os.R_OK, dir_fd=folder, effective_ids=True)
        except OSError as error:
            if error.errno in OF_THIS_COMPUTER:
                raise
            return SkippedFile(path, SkipReason.MISSING if error.errno in GONE else SkipReason.UNREADABLE)
        if stat.S_ISREG(found.st_mode):
            return regular(path, found, readable=readable)
        return special(self._location, path, found)

    def _through_links(self, path: str) -> SourceFile | SkippedFile:
        Path(self._top + path).lstat()
        return followed(self._location, path)

    def _has_no_links(self, folder: str) -> bool:
        whole = (self._top + folder).rstrip("/") or "/"
        return os.path.realpath(whole) == whole


class _Common:
    """The deepest folder that holds all paths so far."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._deepest: str | None = None
        self._begins = ""
        self._is_folder = False
        self.relative = self.addresses = self.paths = self.groups = False

    def add(self, path: str) -> None:
        """Count a whole path in."""
        if self._deepest is None:
            self._deepest = path
        elif path.startswith(self._begins):
            self._is_folder = True
            return
        elif path != self._deepest:
            self._is_folder = True
            self._deepest = os.path.commonpath([self._deepest, path])
        self._begins = self._deepest.rstrip("/") + "/"

    def location(self) -> str:
        """Return it, or the base where that holds them and one was given from there."""
        if self.addresses:
            return URLS
        if self._deepest is None:
            return self._base
        if self.relative and f"{self._deepest}/".startswith(self._base.rstrip("/") + "/"):
            return self._base
        return self._deepest if self._is_folder else os.path.dirname(self._deepest)  # noqa: PTH120 - bytes survive


def absolute(path: str, base: str) -> str:
    """Return a path from the root, without `.` and `..`. Symlinks stay, but where a `..` leads out of one."""
    whole = path if path[0] == "/" else f"{base.rstrip('/')}/{path}"
    if not _ODD.search(whole):
        return whole
    parts = list[str]()
    for part in whole.split("/"):
        if part == "..":
            parts = os.path.realpath("/" + "/".join(parts)).split("/")[1:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _fill(data: sqlite3.Connection, names: Iterable[Named], what: str, base: str) -> _Common:
    common = _Common(base)
    rows = (_row(name, common, what, base) for name in names)
    while some := list(islice(rows, _AT_A_TIME)):
        data.executemany("INSERT INTO entry (path, line, said) VALUES (?, ?, ?)", some)
    return common


def _row(name: Named, common: _Common, what: str, base: str) -> tuple[bytes, int, str | None]:
    path = name.path
    if "://" in path:
        common.addresses = True
    else:
        common.paths = True
        common.relative = common.relative or path[0] != "/"
        path = absolute(path, base)
        common.add(path)
    if common.addresses and common.paths:
        raise UsageError(f"{what}, line {name.line}: addresses and paths don't go together; make a list of each")
    group = name.group if name.group.strip() else ""  # a blank cell looks like an empty one
    common.groups = common.groups or bool(group)
    said = None
    if group or name.priority or name.metadata:
        said = json.dumps([group, name.priority, dict(name.metadata)])
    return path.encode("utf-8", "surrogateescape"), name.line, said


def _refuse_conflicts(data: sqlite3.Connection, what: str, base: str) -> None:
    for path, line, said, again, other in data.execute(_CONFLICT):
        if _sorted(said) != _sorted(other):
            name = path.decode("utf-8", "surrogateescape").removeprefix(f"{base}/")
            raise UsageError(
                f"{what}: lines {line} and {again} name {name!r} with different groups, priorities or metadata; leave"
                " one of them out"
            )


def _sorted(said: str | None) -> str:
    return json.dumps(json.loads(said or "null"), sort_keys=True)


def _lines(data: sqlite3.Connection, begin: int) -> Iterator[bytes]:
    for path, said in data.execute("SELECT path, said FROM entry ORDER BY position"):
        name = path.decode("utf-8", "surrogateescape")[begin:] or "."
        if not said:
            yield f'{{"path":{jsonl.quote(name)}}}\n'.encode()
            continue
        group, priority, metadata = json.loads(said)
        row = {"path": name, "group": group, "priority": priority, "metadata": metadata}
        yield jsonl.encode(row) + b"\n"


def _with(entry: SourceFile | SkippedFile, row: dict[str, Any]) -> SourceFile | SkippedFile:
    group, metadata = row["group"], tuple(row["metadata"].items())
    if isinstance(entry, SkippedFile):
        return replace(entry, group=group, metadata=metadata)
    return replace(entry, group=group, metadata=metadata, priority=row["priority"])

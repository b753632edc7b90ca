"""Keep a whole listing in a file on disk, to be read back by group or by priority.

A SQLite file, on a disk of this machine: what a listing of millions needs is disk, not memory. It gets its name only
when the listing is through; from then on it is the set: files that come or go later change nothing. What a killed
process left before that is made anew.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paceline.durable import make_private_dir, open_private, sync_dir, writing
from paceline.model import Metadata, SkippedFile, SkipReason, SourceFile
from producers.grouping import Grouping, name_of

PART = ".part"
"""How the name of a stage ends that is being filled."""

_AT_A_TIME = 5_000
_CACHE_KB = 32_000
_SCHEMA = """
CREATE TABLE entry (
    position INTEGER PRIMARY KEY, path BLOB NOT NULL, size INTEGER, mtime INTEGER, reason TEXT,
    grouped BLOB, said BLOB, priority INTEGER NOT NULL, metadata TEXT
);
CREATE TABLE team (seat INTEGER PRIMARY KEY, key BLOB NOT NULL, files INTEGER NOT NULL);
"""
_INSERT = "INSERT INTO entry (path, size, mtime, reason, grouped, said, priority, metadata) VALUES (?,?,?,?,?,?,?,?)"
_ONCE = """
CREATE INDEX by_path ON entry (path);
DELETE FROM entry WHERE EXISTS (
    SELECT 1 FROM entry AS first WHERE first.path = entry.path AND first.position < entry.position
);
DROP INDEX by_path;
"""
_BY_PRIORITY = "CREATE INDEX by_priority ON entry (priority DESC, position)"
_BY_GROUP = """
CREATE INDEX by_group ON entry (grouped, position, reason, priority) WHERE grouped IS NOT NULL;
INSERT INTO team (key, files)
    SELECT grouped, SUM(reason IS NULL) FROM entry INDEXED BY by_group WHERE grouped IS NOT NULL
    GROUP BY grouped ORDER BY MAX(priority) DESC, MIN(position);
"""
_FIELDS = "entry.path, entry.size, entry.mtime, entry.reason, entry.said, entry.priority, entry.metadata"
_OF_TEAMS = "FROM team CROSS JOIN entry INDEXED BY by_group ON entry.grouped = team.key"


@dataclass(frozen=True, slots=True)
class Group:
    """Files that belong together, in the order of the listing. `skipped` are those of them that can't be sent.

    `name` is what stands on record for it, and is the `group` of its files.
    """

    name: str
    files: tuple[SourceFile, ...]
    skipped: tuple[SkippedFile, ...] = ()


class Stage:
    """A staged listing at `path`, to be filled if it isn't there. One process at a time. Raises `SinkError`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._data: sqlite3.Connection | None = None
        self._reading: list[Generator[tuple[Any, ...]]] = []
        make_private_dir(str(Path(path).parent))
        if Path(path).exists():
            self._open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for rows in self._reading:  # planning may stop in the middle
            rows.close()
        if self._data is not None:
            self._data.close()

    @property
    def complete(self) -> bool:
        """Tell whether the listing was taken to its end."""
        return self._data is not None

    def fill(
        self, entries: Iterable[SourceFile | SkippedFile], grouping: Grouping | None, *, once: bool = False
    ) -> None:
        """Take a listing to its end; only then is it complete. `once`: no path comes again.

        Of a path that comes again only the first counts. Raises `SinkError` where there is no room.
        """
        remove_stage(self._path)
        part = self._path + PART
        with writing(part):
            os.close(open_private(part))
        data = self._open(part)
        with saying(part):
            data.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;")
            data.executescript(_SCHEMA)
            rows = _rows(entries, grouping)
            data.execute("BEGIN")
            while batch := list(islice(rows, _AT_A_TIME)):
                data.executemany(_INSERT, batch)
            data.commit()
            if not once:
                data.executescript(_ONCE)
            if grouping is not None:
                data.executescript(_BY_GROUP)
            elif data.execute("SELECT 1 FROM entry WHERE priority != 0").fetchone():
                data.execute(_BY_PRIORITY)
            data.commit()
            data.close()
        self._data = None
        with writing(self._path):
            _sync(part)
            Path(part).rename(self._path)
            sync_dir(str(Path(self._path).absolute().parent))
        self._open(self._path)

    def files(self) -> Iterator[SourceFile | SkippedFile]:
        """Give all entries: the highest priority first, then as listed."""
        ranked = self._one("SELECT 1 FROM sqlite_master WHERE name = 'by_priority'")
        order = "entry.priority DESC, entry.position" if ranked else "entry.position"
        return self._entries(f"SELECT {_FIELDS} FROM entry ORDER BY {order}")  # noqa: S608 - our own words

    def skipped(self) -> Iterator[SkippedFile]:
        """Give the entries that are in no group."""
        entries = self._entries(f"SELECT {_FIELDS} FROM entry WHERE grouped IS NULL ORDER BY position")  # noqa: S608 - our own words
        return (entry for entry in entries if isinstance(entry, SkippedFile))

    def groups(self, most_files: int | None = None) -> Iterator[Group | SkippedFile]:
        """Give the groups whole: the highest priority of their files first, then in the order of their first file.

        Of those with more than `most_files` files nothing is held in memory: they come first, file by file, as
        `group_too_large`.
        """
        if most_files is not None:
            where = f"WHERE team.files > {int(most_files)} ORDER BY team.seat, entry.position"
            for row in self._rows(f"SELECT {_FIELDS}, team.key {_OF_TEAMS} {where}"):
                entry = _entry(row[:-1], name_of(_text(row[-1])))
                yield entry if isinstance(entry, SkippedFile) else _too_large(entry)
        where = "" if most_files is None else f"WHERE team.files <= {int(most_files)}"
        seat, name = None, ""
        entries: list[SourceFile | SkippedFile] = []
        order = "ORDER BY team.seat, entry.position"
        for row in self._rows(f"SELECT {_FIELDS}, team.key, team.seat {_OF_TEAMS} {where} {order}"):
            if row[-1] != seat and entries:
                yield _group(name, entries)
                entries = []
            if row[-1] != seat:
                seat, name = row[-1], name_of(_text(row[-2]))
            entries.append(_entry(row[:-2], name))
        if entries:
            yield _group(name, entries)

    def _open(self, path: str) -> sqlite3.Connection:
        with saying(path):
            self._data = sqlite3.connect(path, isolation_level=None)
            self._data.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
        return self._data

    def _entries(self, query: str) -> Iterator[SourceFile | SkippedFile]:
        return map(_entry, self._rows(query))

    def _one(self, query: str) -> bool:
        return next(self._rows(query), None) is not None

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        self._reading.append(rows := self._read(query))
        return rows

    def _read(self, query: str) -> Generator[tuple[Any, ...]]:
        assert self._data is not None, "a stage is read when it is complete"
        with saying(self._path), closing(self._data.cursor()) as cursor:
            yield from cursor.execute(query)


def remove_stage(path: str) -> None:
    """Delete a stage that is closed, or what a killed process left of one. Raises `SinkError`."""
    with writing(path):
        for end in ("", PART):
            with suppress(FileNotFoundError):
                Path(path + end).unlink()


@contextmanager
def saying(path: str) -> Iterator[None]:
    """Turn what SQLite says into a `SinkError` that names `path` and the remedy."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        with writing(path):
            raise OSError(_ERRNO.get(code, errno.EIO), str(error)) from error


_ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}


def _rows(entries: Iterable[SourceFile | SkippedFile], grouping: Grouping | None) -> Iterator[tuple[Any, ...]]:
    for entry in entries if grouping is None else grouping.checked(entries):
        reason = entry.reason.value if isinstance(entry, SkippedFile) else None
        key = None if grouping is None else grouping.group_of(entry)
        if grouping is not None and key is None and reason is None:
            reason = SkipReason.NO_GROUP.value
        yield (
            os.fsencode(entry.path),
            entry.size_bytes,
            entry.mtime_ns,
            reason,
            None if key is None else _blob(key),
            _blob(entry.group) if key is None and entry.group else None,
            entry.priority if isinstance(entry, SourceFile) else 0,
            json.dumps(entry.metadata) if entry.metadata else None,
        )


def _entry(row: tuple[Any, ...], group: str | None = None) -> SourceFile | SkippedFile:
    """Read an entry back. `group` is that of its team; None: what was said."""
    path, size, mtime, reason, said, priority, metadata = row
    name, pairs = os.fsdecode(path), _pairs(metadata) if metadata else ()
    if group is None:
        group = _text(said) if said else ""
    if reason is not None:
        return SkippedFile(name, SkipReason(reason), size, mtime, group, pairs)
    return SourceFile(name, size, mtime, group, pairs, priority)


def _pairs(metadata: str) -> Metadata:
    return tuple((name, value) for name, value in json.loads(metadata))


def _group(name: str, entries: list[SourceFile | SkippedFile]) -> Group:
    files = tuple(entry for entry in entries if isinstance(entry, SourceFile))
    skipped = tuple(entry for entry in entries if isinstance(entry, SkippedFile))
    return Group(name, files, skipped)


def _too_large(file: SourceFile) -> SkippedFile:
    reason = SkipReason.GROUP_TOO_LARGE
    return SkippedFile(file.path, reason, file.size_bytes, file.mtime_ns, file.group, file.metadata)


def _blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

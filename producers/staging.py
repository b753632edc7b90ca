"""Keep a whole listing in a file on disk, to be read back by group or by priority.

A SQLite file, on a disk of this machine: what a listing of millions needs is disk, not memory. Once `complete`, it is
the set: files that come or go later change nothing. Before that nothing of it counts, and it is filled anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paceline.durable import make_private_dir
from paceline.model import SkippedFile, SkipReason, SourceFile
from producers.grouping import Grouping

_AT_A_TIME = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    position INTEGER PRIMARY KEY, path BLOB NOT NULL, size INTEGER, mtime INTEGER, reason TEXT,
    grouped TEXT, said TEXT NOT NULL, priority INTEGER NOT NULL, metadata TEXT
);
CREATE TABLE IF NOT EXISTS done (complete INTEGER);
CREATE TEMP TABLE taken (path BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_FIELDS = "path, size, mtime, reason, said, priority, metadata"
_LEFT = "NOT EXISTS (SELECT 1 FROM taken WHERE taken.path = entry.path)"


@dataclass(frozen=True, slots=True)
class Group:
    """Files that belong together, in the order of the listing. `skipped` are those of them that can't be sent."""

    name: str
    files: tuple[SourceFile, ...]
    skipped: tuple[SkippedFile, ...] = ()


class Stage:
    """A staged listing at `path`, which is made if it is missing. One process at a time."""

    def __init__(self, path: str) -> None:
        make_private_dir(str(Path(path).parent))
        self._data = sqlite3.connect(path)
        self._data.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._data.close()

    @property
    def complete(self) -> bool:
        """Tell whether the listing was filled in to its end."""
        return self._data.execute("SELECT 1 FROM done").fetchone() is not None

    def fill(self, entries: Iterable[SourceFile | SkippedFile], grouping: Grouping | None) -> None:
        """Take a listing to its end, and only then count as complete. A path that comes again is left out."""
        rows: list[tuple[Any, ...]] = []
        self._data.execute("DELETE FROM entry")
        for entry in entries:
            rows.append(_row(entry, grouping))
            if len(rows) == _AT_A_TIME:
                self._insert(rows)
                rows.clear()
        self._insert(rows)
        self._data.execute("CREATE INDEX IF NOT EXISTS by_group ON entry (grouped, position)")
        self._data.execute("INSERT INTO done VALUES (1)")
        self._data.commit()

    def drop(self, paths: Iterable[str]) -> None:
        """Leave out what is planned already."""
        self._data.executemany("INSERT OR IGNORE INTO taken VALUES (?)", ((_bytes(path),) for path in paths))

    def files(self) -> Generator[SourceFile | SkippedFile]:
        """Give all entries: the highest priority first, then as listed."""
        for row in self._rows(f"SELECT {_FIELDS} FROM entry WHERE {_LEFT} ORDER BY priority DESC, position"):  # noqa: S608 - our own words
            yield _entry(row)

    def skipped(self) -> Iterator[SkippedFile]:
        """Give the skipped entries that are in no group."""
        where = f"reason IS NOT NULL AND grouped IS NULL AND {_LEFT}"
        for row in self._rows(f"SELECT {_FIELDS} FROM entry WHERE {where} ORDER BY position"):  # noqa: S608 - our own words
            entry = _entry(row)
            if isinstance(entry, SkippedFile):
                yield entry

    def groups(self) -> Generator[Group]:
        """Give the groups whole: the highest priority of their files first, then in the order of their first file."""
        first = "SELECT grouped AS name, MIN(position) AS first, MAX(priority) AS urgency FROM entry GROUP BY grouped"
        order = "ORDER BY first.urgency DESC, first.first, entry.position"
        rows = self._rows(
            f"SELECT entry.grouped, {_FIELDS} FROM ({first}) AS first JOIN entry ON entry.grouped = first.name"  # noqa: S608 - our own words
            f" WHERE {_LEFT} {order}"
        )
        name, entries = None, list[SourceFile | SkippedFile]()
        for grouped, *row in rows:
            if grouped != name and entries:
                yield _group(str(name), entries)
                entries = []
            name = grouped
            entries.append(_entry(tuple(row)))
        if entries:
            yield _group(str(name), entries)

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        self._data.executemany(
            "INSERT INTO entry (path, size, mtime, reason, grouped, said, priority, metadata) VALUES (?,?,?,?,?,?,?,?)",
            rows,
        )

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        with closing(self._data.cursor()) as cursor:
            yield from cursor.execute(query)


def remove_stage(path: str) -> None:
    """Delete a stage that is closed: the plan is complete."""
    for end in ("", "-wal", "-shm"):
        Path(path + end).unlink(missing_ok=True)


def _row(entry: SourceFile | SkippedFile, grouping: Grouping | None) -> tuple[Any, ...]:
    reason = entry.reason.value if isinstance(entry, SkippedFile) else None
    grouped = grouping.group_of(entry) if grouping is not None else None
    if grouping is not None and grouped is None and reason is None:
        reason = SkipReason.NO_GROUP.value
    priority = entry.priority if isinstance(entry, SourceFile) else 0
    metadata = json.dumps(entry.metadata) if entry.metadata else None
    named = _bytes(entry.path), entry.size_bytes, entry.mtime_ns, reason
    return (*named, None if grouped is None else _safe(grouped), _safe(entry.group), priority, metadata)


def _entry(row: tuple[Any, ...]) -> SourceFile | SkippedFile:
    path, size, mtime, reason, said, priority, metadata = row
    pairs = tuple((name, value) for name, value in json.loads(metadata)) if metadata else ()
    name = path.decode("utf-8", "surrogateescape")
    if reason is not None:
        return SkippedFile(name, SkipReason(reason), size, mtime, _unsafe(said), pairs)
    return SourceFile(name, size, mtime, _unsafe(said), pairs, priority)


def _group(name: str, entries: list[SourceFile | SkippedFile]) -> Group:
    files = tuple(entry for entry in entries if isinstance(entry, SourceFile))
    skipped = tuple(entry for entry in entries if isinstance(entry, SkippedFile))
    return Group(_unsafe(name), files, skipped)


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _safe(text: str) -> str:
    """Return a text that SQLite takes, and that stays apart from every other."""
    return json.dumps(text) if not text.isascii() or not text.isprintable() or text[:1] == '"' else text


def _unsafe(text: str) -> str:
    return json.loads(text) if text[:1] == '"' else text

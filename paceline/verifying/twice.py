"""Find paths that stand twice in a manifest, whatever its order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from paceline.verifying.streams import Key, manifest_rows, path_key, side_by_side


def twice(manifest: str, stop: int | None) -> Iterator[str]:
    """Give the paths that stand more than once in a manifest's first `stop` bytes.

    One in the order of a listing is read side by side with itself; of groups and lists the paths are sorted on disk.
    """
    if _is_sorted(manifest, stop):
        for one, other in side_by_side(_paths(manifest, stop, planned=True), _paths(manifest, stop, planned=False)):
            if one is not None and other is not None:
                yield one
        return
    with closing(sqlite3.connect("")) as data:  # a file of SQLite's own, which goes with it
        data.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-32000;")
        data.execute("CREATE TABLE paths (path BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        add = "INSERT INTO paths VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1"
        rows = manifest_rows(manifest, stop)
        data.executemany(add, ((row.path.encode("utf-8", "surrogateescape"),) for _, row in rows))
        for (path,) in data.execute("SELECT path FROM paths WHERE times > 1 ORDER BY path"):
            yield path.decode("utf-8", "surrogateescape")


def _is_sorted(manifest: str, stop: int | None) -> bool:
    last: dict[bool, Key] = {True: (), False: ()}
    for _, row in manifest_rows(manifest, stop):
        planned, key = row.submission is not None, path_key(row.path)
        if key <= last[planned]:
            return False
        last[planned] = key
    return True


def _paths(manifest: str, stop: int | None, *, planned: bool) -> Iterator[tuple[Key, str]]:
    for _, row in manifest_rows(manifest, stop):
        if (row.submission is not None) == planned:
            yield path_key(row.path), row.path

"""Write batches' records into a SQLite database: a transaction per submission, any number of batches and processes.

The tables are those of `paceline.tables` with `batches` and `paceline_schema` (see `paceline.sinks.sql`); tables of
other people may stand beside them. Readers never wait and never see half a submission: the database is in WAL mode.
Not for network file systems, which lack the locks.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing as closed_at_end
from contextlib import contextmanager
from pathlib import Path

from paceline.durable import make_private_dir, sync_dir, writing
from paceline.errors import SinkError, UsageError
from paceline.sinks import sql
from paceline.sinks.base import Closing, Part
from paceline.sinks.sql import SQLITE, VERSION
from paceline.tables import FILES, Row, rows_of
from paceline.times import iso

BUSY_S = 30.0
"""How long a write waits for those of other processes."""

PAUSE_S = 0.05

_making = threading.Lock()
"""Held while a file is made: closing any descriptor of a database drops the locks that this process has on it."""


class SqliteSink:
    """A SQLite file, made 0600 when it is first needed. See `paceline.sinks.base.Sink`.

    It is opened anew for each call, so a file that was moved away is never written to, and threads and forks share
    nothing.
    """

    def __init__(self, path: str, *, busy_s: float = BUSY_S) -> None:
        self.path = Path(path).absolute()
        self._busy_s = busy_s

    def write(self, part: Part) -> None:
        """Replace a submission's rows in one transaction."""
        tables = rows_of(part)
        key = (part.record["batch"], part.submission)
        with self._opened() as database, _transaction(database):
            for table in sql.REPLACED:
                database.execute(sql.delete(SQLITE, table), key)
                database.executemany(sql.insert(SQLITE, table), sql.distinct(table, tables[table.name]))
            _put_files(database, tables[FILES.name])

    def check(self, batch: str | None) -> None:
        """Make the file and its tables, and try to write; raises `UsageError`. One database holds many batches."""
        shown = f"output {_shown(self.path)!r}"
        if self.path.exists() and not self.path.is_file():
            raise UsageError(f"{shown} is no file: name one, which is made if it is missing")
        try:
            with self._opened() as database, _transaction(database):
                database.execute(f"UPDATE {sql.MARKER} SET version = {VERSION}")  # noqa: S608  # both are ours
        except SinkError as error:
            raise UsageError(f"{shown}: {error}") from error

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Do nothing: the commit reads the manifest from the disk that the database is on too."""

    def commit(self, closing: Closing) -> None:
        """Add the files that are in no submission, then the batch's row, which says that all is there.

        Raises `SinkError` where submissions are missing.
        """
        with self._opened() as database:
            for rows in _skipped(closing):
                with _transaction(database):
                    if not closing.still_open():
                        return
                    _put_files(database, rows)
            with _transaction(database):
                if not closing.still_open():
                    return
                (found,) = database.execute(sql.count(SQLITE), sql.count_of(closing.batch)).fetchone()
                if found != closing.submissions:
                    raise SinkError(
                        f"{_shown(self.path)} has {found} submissions of batch {closing.batch}, the ledger"
                        f" {closing.submissions}: write them again with paceline export"
                    )
                row = sql.batch_row(closing, iso(time.time_ns() // 1_000_000))
                database.execute(sql.upsert(SQLITE, sql.BATCHES), row)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Open the database with its tables as they must be. Raises `SinkError`."""
        try:
            self._make_file()
            with closed_at_end(sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut
                if not self._fits(database):
                    self._turn_to_wal(database)
                    with _transaction(database):
                        if not self._fits(database):  # somebody else may have been quicker
                            for statement in sql.create(SQLITE):
                                database.execute(statement)
                yield database
        except sqlite3.Error as error:
            raise SinkError(_explain(self.path, error, self._busy_s)) from error

    def _make_file(self) -> None:
        with _making:
            if self.path.exists():
                # SQLite would open it for reading, and leave files beside it that nobody may write later.
                if not os.access(self.path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                    raise SinkError(_not_allowed(self.path))
                return
            make_private_dir(str(self.path.parent))
            with writing(str(self.path)):
                try:
                    descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                except FileExistsError:
                    return
                os.fchmod(descriptor, 0o600)
                os.close(descriptor)
                sync_dir(str(self.path.parent))

    def _fits(self, database: sqlite3.Connection) -> bool:
        """Tell whether our tables are there. Raises `SinkError` where others have their names, or another version's."""
        known = [sql.MARKER, *(table.name for table in sql.EVERY)]
        marks = ", ".join("?" * len(known))
        query = (
            "SELECT lower(m.name), c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c"  # noqa: S608
            f" WHERE m.type IN ('table', 'view') AND lower(m.name) IN ({marks})"
        )
        present: dict[str, set[str]] = {}
        for table, column in database.execute(query, known):
            present.setdefault(table, set()).add(column)
        marker = present.pop(sql.MARKER, set())
        version = None
        if "version" in marker:
            (version,) = database.execute(f"SELECT max(version) FROM {sql.MARKER}").fetchone()  # noqa: S608  # ours
        elif marker:
            present[sql.MARKER] = marker
        wrong = sql.misfit(version, present)
        if wrong:
            raise SinkError(f"{wrong}: name another file, or move those tables away")
        return version is not None

    def _turn_to_wal(self, database: sqlite3.Connection) -> None:
        """Let readers and writers not wait for each other. SQLite doesn't wait for this by itself."""
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                database.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_S)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Do the block as a whole or not at all; it has the database's only lock for writing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def _put_files(database: sqlite3.Connection, rows: Iterable[Row]) -> None:
    database.executemany(sql.upsert(SQLITE, FILES), sql.distinct(FILES, rows))


def _skipped(closing: Closing) -> Iterator[list[Row]]:
    try:
        yield from sql.skipped_rows(closing.batch, closing.manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SinkError(f"manifest {closing.manifest} can't be read: bring it back from a copy") from error


_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary code; 0 for what this module's own use of it went wrong with."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explain(path: Path, error: sqlite3.Error, busy_s: float) -> str:
    shown, code = _shown(path), _code(error)
    if code in _BUSY:
        return f"{shown} was locked by another program for {busy_s:g} s: let it end, or close it"
    if code == sqlite3.SQLITE_FULL:
        return f"no room to write {shown}: free some space there, then run the same command again"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH):
        return _not_allowed(path)
    if code == sqlite3.SQLITE_NOTADB:
        return f"{shown} is no SQLite database: choose another --to, or move that file away"
    if code == sqlite3.SQLITE_CORRUPT:
        return f"{shown} is damaged: move it away and write it again with paceline export"
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"can't write {shown} ({name}): is it on a disk of this machine, and is that in order?"


def _not_allowed(path: Path) -> str:
    return f"not allowed to write {_shown(path)}: make file and folder writable for this user, or choose another --to"


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")

"""Write batches' records into a PostgreSQL database: a transaction per submission, any number of batches and writers.

The tables are those of `paceline.tables` with `batches` and `paceline_schema` (see `paceline.sinks.sql`), in the schema
that the address names (`?schema=…`), else in one of our own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from functools import partial

from paceline.errors import SinkError, UsageError
from paceline.sinks import sql
from paceline.sinks.base import Closing, Part
from paceline.sinks.postgres_links import Connection, PostgresLinks
from paceline.tables import FILES, Kind, Row, Table, rows_of
from paceline.times import iso

KEY_BYTES = 2000
"""A path or prompt longer than this is cut in this database: no index takes more than 2,704 bytes a row."""

_NEW_FILES = "paceline_new_files"


class PostgresSink:
    """A schema of a database. See `paceline.sinks.base.Sink`."""

    def __init__(self, url: str, links: PostgresLinks | None = None) -> None:
        self._links = links or PostgresLinks(url)
        self._dialect = sql.postgres(self._links.schema)

    def write(self, part: Part) -> None:
        """Replace a submission's rows in one transaction."""
        tables = rows_of(part)
        batch = part.record["batch"]

        def work(connection: Connection) -> None:
            self._make(connection)
            # Two writers of one submission would each delete the rows of before, and both add theirs.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (part.submission,))
            for table in sql.REPLACED:
                connection.execute(sql.delete(self._dialect, table), (batch, part.submission))
                self._copy(connection, self._dialect.place(table.name), table, tables[table.name])
            self._put_files(connection, tables[FILES.name])

        self._links.transact(work)

    def check(self, batch: str | None) -> None:
        """Make the schema with its tables, and try to write; raises `UsageError`. A schema holds many batches."""

        def work(connection: Connection) -> None:
            (encoding,) = connection.execute("SHOW server_encoding").fetchone()
            if encoding != "UTF8":
                raise UsageError(
                    f"output {self._links.shown!r}: the database is in {encoding}, which lacks most characters; create"
                    " one with ENCODING 'UTF8'"
                )
            self._make(connection)
            marker = self._dialect.place(sql.MARKER)
            connection.execute(f"UPDATE {marker} SET version = {sql.VERSION}")  # noqa: S608  # both are ours
            self._put_files(connection, [])

        try:
            self._links.transact(work)
        except SinkError as error:
            raise UsageError(f"output {error}") from error
        finally:
            self._links.close()

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Add the files that are in no submission: the machine that commits may not have the manifest."""
        try:
            for rows in sql.skipped_rows(batch, manifest):
                self._links.transact(partial(self._take, rows))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SinkError(f"manifest {manifest} can't be read: bring it back from a copy") from error
        finally:
            self._links.close()

    def commit(self, closing: Closing) -> None:
        """Add the batch's row, which says that all is there. Raises `SinkError` where submissions are missing."""

        def work(connection: Connection) -> None:
            self._make(connection)
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (closing.batch,))
            if not closing.still_open():
                return
            (found,) = connection.execute(sql.count(self._dialect), sql.count_of(closing.batch)).fetchone()
            if found != closing.submissions:
                raise SinkError(
                    f"{self._links.shown}: there are {found} submissions of batch {closing.batch}, the ledger"
                    f" {closing.submissions}: write them again with paceline export"
                )
            row = self._fitting(sql.BATCHES, sql.batch_row(closing, iso(time.time_ns() // 1_000_000)))
            connection.execute(sql.upsert(self._dialect, sql.BATCHES), row)

        self._links.transact(work)

    def _take(self, rows: Sequence[Row], connection: Connection) -> None:
        self._make(connection)
        self._put_files(connection, rows)

    def _copy(self, connection: Connection, place: str, table: Table, rows: Iterable[Row]) -> None:
        names = ", ".join(map(sql.quoted, table.names))
        with connection.cursor() as cursor, cursor.copy(f"COPY {place} ({names}) FROM STDIN") as copy:
            for row in sql.distinct(table, (self._fitting(table, row) for row in rows)):
                copy.write_row(row)

    def _put_files(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Add rows of files, or put them in the place of those of an earlier attempt."""
        files, new = self._dialect.place(FILES.name), f"pg_temp.{_NEW_FILES}"
        connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {_NEW_FILES} (LIKE {files}) ON COMMIT DELETE ROWS")
        self._copy(connection, new, FILES, rows)
        names = ", ".join(map(sql.quoted, FILES.names))
        # In one order in every transaction: two that want the same rows wait for each other, and never both.
        source = f"SELECT {names} FROM {new} ORDER BY batch, path"  # noqa: S608  # all names are ours
        connection.execute(sql.upsert(self._dialect, FILES, source))

    def _fitting(self, table: Table, row: Row) -> Row:
        return tuple(
            value if not isinstance(value, str) else _fitting(value, column.kind, is_key=column.name in table.key)
            for column, value in zip(table.columns, row, strict=True)
        )

    def _make(self, connection: Connection) -> None:
        """Make what is missing. Raises `SinkError` where others have our tables' names, or another version's."""
        if self._fits(connection):
            return
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (self._links.schema,))
        if self._fits(connection):  # somebody else was quicker
            return
        schema = sql.quoted(self._links.schema)
        if connection.execute("SELECT to_regnamespace(%s)::text", (schema,)).fetchone() == (None,):
            connection.execute(f"CREATE SCHEMA {schema}")
        for statement in (*sql.create(self._dialect), *sql.comments(self._dialect)):
            connection.execute(statement)

    def _fits(self, connection: Connection) -> bool:
        known = [sql.MARKER, *(table.name for table in sql.EVERY)]
        query = """
            SELECT c.relname, a.attname FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE n.nspname = %s AND c.relname = ANY(%s)
        """
        present: dict[str, set[str]] = {}
        for table, column in connection.execute(query, (self._links.schema, known)).fetchall():
            present.setdefault(table, set()).add(column)
        marker = present.pop(sql.MARKER, set())
        version = None
        if "version" in marker:
            place = self._dialect.place(sql.MARKER)
            (version,) = connection.execute(f"SELECT max(version) FROM {place}").fetchone()  # noqa: S608  # ours
        elif marker:
            present[sql.MARKER] = marker
        wrong = sql.misfit(version, present)
        if wrong:
            raise SinkError(
                f"{self._links.shown}: schema {self._links.schema}: {wrong}: name another one with ?schema=…, or move"
                " those tables away"
            )
        return version is not None


def _fitting(text: str, kind: Kind, *, is_key: bool) -> str:
    """Return a text as its column takes it."""
    if kind is Kind.JSON:
        return sql.storable_json(text)
    if is_key and len(text.encode()) > KEY_BYTES:
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return text.encode()[: KEY_BYTES - 40].decode(errors="ignore") + f"…{digest}"
    return text

"""Make the schema and the statements of the databases from `paceline.tables`: nothing here touches one.

Beside the four tables of every tabular destination a database has two more: `batches`, with a row for each batch that
is complete, and `paceline_schema`, which says that the tables are ours and which version they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from paceline import jsonl
from paceline.halving import FIRST
from paceline.manifest import read_manifest
from paceline.model import submission_id
from paceline.sinks.base import Closing
from paceline.tables import ANSWERS, CITATIONS, FILES, RUNS, TABLES, Column, Kind, Row, Table, skipped_row

VERSION = 1
"""Of the schema. Grows with every change that another version's statements don't fit."""

MARKER = "paceline_schema"
"""The table whose one row holds the version."""

BATCHES = Table(
    "batches",
    "a row per batch that is complete; while it has none, the rows of the other tables are not all there",
    ("batch",),
    (
        Column("batch"),
        Column("name"),
        Column("state", about="complete"),
        Column("started_at", Kind.TIME),
        Column("finished_at", Kind.TIME),
        Column("credits", Kind.REAL),
        Column("summary", Kind.JSON, "the whole summary, as in `summary.json`"),
        Column("committed_at", Kind.TIME, "when all rows were there"),
    ),
)

EVERY = (*TABLES, BATCHES)

REPLACED = (RUNS, ANSWERS, CITATIONS)
"""Tables whose rows are all replaced with their submission; a file's row is found by its path and stays one row."""

INDEXES = (("files_by_submission", FILES, ("batch", "submission")), ("answers_by_prompt", ANSWERS, ("batch", "prompt")))

AT_A_TIME = 5_000
"""Rows of skipped files in one transaction."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a database spells types and marks parameters; `within` stands before each name of a table."""

    types: Mapping[Kind, str]
    mark: str
    within: str = ""

    def place(self, table: str) -> str:
        """Return a table's whole name."""
        return f"{self.within}{quoted(table)}"


SQLITE = Dialect(
    {Kind.TEXT: "TEXT", Kind.INTEGER: "INTEGER", Kind.REAL: "REAL", Kind.TIME: "TEXT", Kind.JSON: "TEXT"}, "?"
)


def postgres(schema: str) -> Dialect:
    """Return PostgreSQL's dialect, for tables in a schema."""
    types = {
        Kind.TEXT: "text",
        Kind.INTEGER: "bigint",
        Kind.REAL: "double precision",
        Kind.TIME: "timestamptz",
        Kind.JSON: "jsonb",
    }
    return Dialect(types, "%s", f"{quoted(schema)}.")


def quoted(name: str) -> str:
    """Quote a name."""
    return '"' + name.replace('"', '""') + '"'


def create(dialect: Dialect) -> Iterator[str]:
    """Give the statements that make everything in an empty place, the marker with its row last."""
    for table in EVERY:
        lines = [
            f"    {quoted(column.name)} {dialect.types[column.kind]}{' NOT NULL' if column.name in table.key else ''}"
            for column in table.columns
        ]
        lines.append(f"    PRIMARY KEY ({_names(table.key)})")
        yield f"CREATE TABLE {dialect.place(table.name)} (\n" + ",\n".join(lines) + "\n)"
    for name, table, columns in INDEXES:
        yield f"CREATE INDEX {quoted(name)} ON {dialect.place(table.name)} ({_names(columns)})"
    yield f"CREATE TABLE {dialect.place(MARKER)} (version INTEGER NOT NULL)"
    yield f"INSERT INTO {dialect.place(MARKER)} (version) VALUES ({VERSION})"  # noqa: S608  # all names are ours


def comments(dialect: Dialect) -> Iterator[str]:
    """Give the statements that describe tables and columns, for databases that keep such words."""
    for table in EVERY:
        yield f"COMMENT ON TABLE {dialect.place(table.name)} IS {_literal(table.about)}"
        for column in table.columns:
            if column.about:
                place = f"{dialect.place(table.name)}.{quoted(column.name)}"
                yield f"COMMENT ON COLUMN {place} IS {_literal(column.about)}"


def insert(dialect: Dialect, table: Table) -> str:
    """Return the statement that adds a row."""
    return f"INSERT INTO {dialect.place(table.name)} ({_names(table.names)}) {_values(dialect, table)}"


def upsert(dialect: Dialect, table: Table, source: str = "") -> str:
    """Return the statement that adds a row, or the rows that `source` selects, or puts them in the place of others."""
    kept = [name for name in table.names if name not in table.key]
    changes = ", ".join(f"{quoted(name)} = {_new_value(dialect, table, name)}" for name in kept)
    return (
        f"INSERT INTO {dialect.place(table.name)} ({_names(table.names)}) {source or _values(dialect, table)}"
        f" ON CONFLICT ({_names(table.key)}) DO UPDATE SET {changes}"
    )


def _new_value(dialect: Dialect, table: Table, name: str) -> str:
    """Return what takes a column's place: the new value, but for the time of a commit that is made again."""
    if table is not BATCHES or name != "committed_at":
        return f"excluded.{quoted(name)}"
    former = dialect.place(table.name)
    return f"CASE WHEN {former}.summary = excluded.summary THEN {former}.committed_at ELSE excluded.committed_at END"


def delete(dialect: Dialect, table: Table) -> str:
    """Return the statement that removes the rows of a submission; parameters: batch, submission."""
    return f"DELETE FROM {dialect.place(table.name)} WHERE batch = {dialect.mark} AND submission = {dialect.mark}"  # noqa: S608


def count(dialect: Dialect) -> str:
    """Return the query for the number of a batch's submissions, halves left out; parameters: `count_of`."""
    return (
        f"SELECT count(*) FROM {dialect.place(RUNS.name)}"  # noqa: S608
        f" WHERE batch = {dialect.mark} AND length(submission) < {dialect.mark}"
    )


def count_of(batch: str) -> tuple[str, int]:
    """Return the parameters of `count`: halves are known by the length of their ids."""
    return batch, len(submission_id(batch, FIRST))


def batch_row(closing: Closing, committed_at: str) -> Row:
    """Return the row of `batches`."""
    summary = closing.summary
    return (
        closing.batch,
        storable(summary["name"]) if summary.get("name") else None,
        "complete",
        summary.get("started_at"),
        summary.get("finished_at"),
        summary.get("credits"),
        jsonl.encode(summary).decode(),
        committed_at,
    )


def skipped_rows(batch: str, manifest: str) -> Iterator[list[Row]]:
    """Give the rows of the files that are in no submission, a bounded number at a time.

    Raises `OSError` or `ValueError` where the manifest can't be read.
    """
    rows = (skipped_row(batch, row) for row in read_manifest(manifest) if row.submission is None)
    while some := list(islice(rows, AT_A_TIME)):
        yield distinct(FILES, some)


def distinct(table: Table, rows: Iterable[Row]) -> list[Row]:
    """Return the rows with one for each key, the last: two names may read the same once they are written as text."""
    places = [table.names.index(name) for name in table.key]
    return list({tuple(row[place] for place in places): row for row in rows}.values())


def misfit(version: int | None, present: Mapping[str, Collection[str]]) -> str | None:
    """Say what is wrong with the tables found in a place, None where nothing is.

    `present` are the columns of what has the name of one of our tables; `version` the marker's, None without one.
    """
    if version is None:
        taken = sorted(present)
        if not taken:
            return None
        one = len(taken) == 1
        return f"the table{'' if one else 's'} {', '.join(taken)} there {'is' if one else 'are'} not paceline's"
    if version != VERSION:
        age = "a newer" if version > VERSION else "an older"
        return f"its tables are {age} paceline's (version {version}; this one writes {VERSION})"
    for table in EVERY:
        missing = [name for name in table.names if name not in present.get(table.name, ())]
        if missing:
            return f"its table {table.name} has been changed: it lacks {', '.join(missing)}"
    return None


def storable(text: str) -> str:
    """Return a text as every database takes it, by the rule of `paceline.tables`."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f][0-9a-f]{2})", re.I)


def storable_json(text: str) -> str:
    """Return JSON without what PostgreSQL's jsonb refuses: NUL and halves of characters, escaped as in other texts."""
    if not _UNSTORABLE.search(text):
        return text
    return jsonl.encode({"v": _storable(jsonl.decode(b'{"v":' + text.encode() + b"}")["v"])}).decode()[5:-1]


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {storable(name): _storable(one) for name, one in value.items()}
    return value


def _values(dialect: Dialect, table: Table) -> str:
    return f"VALUES ({', '.join([dialect.mark] * len(table.columns))})"


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

"""A PostgreSQL database as a destination, on a real server: what stands in it, and what can't damage it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from paceline.sinks.base import Sink
from paceline.sinks.places import canonical
from paceline.tables import TABLES, Kind, Row, Table
from paceline.sinks.sql import storable_json
from paceline.times import iso
from tests.contract.sink_contract import SinkContract
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.sink_batch import BATCH, closing, part, parts, second_attempt
import json
from datetime import datetime


@pytest.fixture(scope="session")
def running() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(autouse=True)
def server(running: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return running


_numbers = iter(range(10**6))


def new_schema() -> str:
    return f"made {next(_numbers)}"


def rows(place: str, schema: str, batch: str) -> dict[str, list[Any]] | None:
    """Return what stands there of a batch, as one reader sees it at one moment, in the terms of `paceline.tables`."""
    with psycopg.connect(place.partition("?")[0]) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = {}
        for table in TABLES:
            names = ", ".join(f'"{column.name}"{"::text" if column.kind is Kind.JSON else ""}' for column in table.columns)
            try:
                got = connection.execute(f'SELECT {names} FROM "{schema}".{table.name} WHERE batch = %s', (batch,))
            except psycopg.errors.UndefinedTable:
                return None
            found[table.name] = [plain(table, row) for row in got.fetchall()]
        return found


def plain(table: Table, row: Row) -> Row:
    """Return a row with times and JSON in one form of text."""
    return tuple(_plain(column.kind, value) for column, value in zip(table.columns, row, strict=True))


def _plain(kind: Kind, value: Any) -> Any:
    if value is None or kind not in (Kind.TIME, Kind.JSON):
        return value
    if kind is Kind.TIME:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.timestamp()
    return json.dumps(json.loads(storable_json(value)), sort_keys=True)


class TestPostgres(SinkContract):
    shows = ("runs", "answers", "files", "citations")
    ordered = False
    early = True
    one_batch = False
    steps = ("Connection.execute", "Cursor.copy", "Copy.write_row", "Connection.commit", "Connection.close", "connect")

    @pytest.fixture(autouse=True)
    def _server(self, server: PostgresServer) -> None:
        self.server = server

    def fresh(self) -> str:
        self.schemas = getattr(self, "schemas", {})
        schema = new_schema()
        place = canonical(self.server.place(schema=schema.replace(" ", "%20")))
        self.schemas[place] = schema
        return place

    def commit(self, sink: Sink, batch: str = BATCH, **changes: Any) -> None:
        if "still_open" in changes:  # the manifest is taken when a batch is listed, and so before it is closed
            sink.commit(self.closing(batch, **changes))
        else:
            super().commit(sink, batch, **changes)

    def wanted(self, kept: Any, batch: str = BATCH) -> dict[str, list[Any]]:
        whole = super().wanted(kept, batch)
        return {table.name: [plain(table, row) for row in whole[table.name]] for table in TABLES}

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        return rows(place, self.schemas[place], batch)

    def traces(self, place: str) -> object:
        with psycopg.connect(place.partition("?")[0]) as connection:
            found = connection.execute(f'SELECT batch, state, summary FROM "{self.schemas[place]}".batches ORDER BY 1')
            return found.fetchall()

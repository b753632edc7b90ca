"""A PostgreSQL database as a destination, on a real server: what stands in it, and what can't damage it."""

# ruff: noqa: S608  # every name in a statement is the test's own

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paceline.errors import SinkError, UsageError
from paceline.model import PlannedFile
from paceline.sinks import sql
from paceline.sinks.base import Sink
from paceline.sinks.places import canonical
from paceline.sinks.postgres import PostgresSink
from paceline.sinks.postgres_links import PostgresLinks, explain
from paceline.sinks.sql import storable_json
from paceline.tables import TABLES, Kind, Row, Table
from tests.contract.sink_contract import SinkContract
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.sink_batch import BATCH, closing, part, parts, second_attempt, wanted

ROOT = Path(__file__).resolve().parents[2]

_numbers = iter(range(10**6))


def new_schema() -> str:
    return f"made {next(_numbers)}"


def rows(place: str, schema: str, batch: str) -> dict[str, list[Any]] | None:
    """Return what stands there of a batch, as one reader sees it at one moment, in the terms of `paceline.tables`."""
    with psycopg.connect(place.partition("?")[0]) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = {}
        for table in TABLES:
            names = ", ".join(
                f'"{column.name}"{"::text" if column.kind is Kind.JSON else ""}' for column in table.columns
            )
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

    most_kills = 20

    @pytest.fixture(autouse=True)
    def _server(self, postgres: PostgresServer) -> None:
        self.server = postgres
        self.schemas: dict[str, str] = {}

    def fresh(self) -> str:
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


class Tried:
    """A schema of the test's own, with a sink that writes there."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.schema = new_schema().replace(" ", "_")
        self.place = canonical(server.place(schema=self.schema))
        self.sink = PostgresSink(self.place)

    def rows(self, batch: str = BATCH) -> dict[str, list[Any]]:
        """Return what stands there."""
        return rows(self.place, self.schema, batch) or {table.name: [] for table in TABLES}

    def ask(self, query: str) -> list[Any]:
        """Run a query as a person would, with our schema first in the path."""
        with connected(self.server) as connection:
            connection.execute(f"SET search_path = {self.schema}")
            found: list[Any] = connection.execute(query).fetchall()
            return found

    def do(self, *statements: str) -> None:
        """Run statements, each for good."""
        with connected(self.server) as connection:
            for statement in (f"SET search_path = {self.schema}", *statements):
                connection.execute(statement)


@contextmanager
def connected(server: PostgresServer) -> Iterator[Any]:
    with psycopg.connect(server.place(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def tried(postgres: PostgresServer) -> Tried:
    return Tried(postgres)


def test_tables_are_in_a_schema_of_their_own_if_none_is_named(postgres: PostgresServer) -> None:
    with connected(postgres) as connection:
        connection.execute("DROP DATABASE IF EXISTS own")
        connection.execute("CREATE DATABASE own")

    PostgresSink(canonical(postgres.place("own"))).check(BATCH)

    with psycopg.connect(postgres.place("own")) as connection:
        found = connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'paceline'")
        assert {name for (name,) in found} == {sql.MARKER, *(table.name for table in sql.EVERY)}


def test_columns_have_the_documented_types_and_words(tried: Tried) -> None:
    tried.sink.check(BATCH)

    types = dict(tried.ask("SELECT table_name || '.' || column_name, data_type FROM information_schema.columns"))
    words = dict(
        tried.ask(
            "SELECT c.relname || '.' || a.attname, col_description(c.oid, a.attnum) FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
            f" WHERE c.relnamespace = '{tried.schema}'::regnamespace"
        )
    )
    dialect = sql.postgres("x")
    for table in sql.EVERY:
        for column in table.columns:
            said = (
                types[f"{table.name}.{column.name}"]
                .replace(" with time zone", "tz")
                .replace("timestamptz", "timestamptz")
            )
            assert said == dialect.types[column.kind]
            assert (words[f"{table.name}.{column.name}"] or "") == column.about
    assert tried.ask(f"SELECT obj_description('{tried.schema}.answers'::regclass)") == [("a row per run and prompt",)]


def test_a_server_that_restarts_between_two_parts_is_not_noticed(tried: Tried) -> None:
    first, second, *_ = parts()
    tried.sink.write(first)
    tried.server.kill()
    tried.server.start()

    tried.sink.write(second)

    assert len(tried.rows()["runs"]) == 2


def test_a_server_that_is_away_is_told_and_written_to_later(tried: Tried) -> None:
    tried.sink.write(parts()[0])
    tried.server.kill()
    try:
        with pytest.raises(SinkError, match=r"postgresql://postgres@127.0.0.1:\d+/postgres: can't connect .*refused"):
            tried.sink.write(parts()[1])
        with pytest.raises(UsageError, match="can't connect"):
            PostgresSink(tried.place).check(BATCH)
    finally:
        tried.server.start()

    tried.sink.write(parts()[1])
    assert len(tried.rows()["runs"]) == 2


def test_a_server_killed_amid_a_transaction_leaves_none_of_it(tried: Tried) -> None:
    tried.sink.write(parts()[0])
    before = tried.rows()
    links = PostgresLinks(tried.place)

    def work(connection: Any) -> None:
        connection.execute(f'DELETE FROM "{tried.schema}".runs')
        tried.server.kill()
        connection.execute("SELECT 1")

    try:
        with pytest.raises(SinkError, match=r"the connection was lost; is the server running|is shutting down"):
            links.transact(work)
    finally:
        tried.server.start()

    assert tried.rows() == before
    for one in parts():
        tried.sink.write(one)
    assert len(tried.rows()["runs"]) == 5


@pytest.mark.parametrize("kept", [False, True])
def test_a_server_that_hangs_never_hangs_a_worker(tried: Tried, kept: bool) -> None:
    links = PostgresLinks(tried.place + "&connect_timeout=2", whole_s=1.0)
    sink = PostgresSink(tried.place, links)
    tried.sink.check(BATCH)
    if kept:
        sink.write(parts()[0])
    tried.server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(SinkError, match="no answer within 1 s" if kept else "can't connect .*timeout"):
            sink.write(parts()[1])
    finally:
        tried.server.signal(signal.SIGCONT)

    PostgresSink(tried.place).write(parts()[1])
    assert len(tried.rows()["runs"]) == 1 + kept


def test_a_lock_of_somebody_else_ends_a_write_in_time(tried: Tried) -> None:
    sink = PostgresSink(tried.place, PostgresLinks(tried.place, whole_s=1.0))
    tried.sink.write(parts()[0])
    with psycopg.connect(tried.server.place()) as other:
        other.execute(f'LOCK TABLE "{tried.schema}".runs')
        with pytest.raises(SinkError, match="no answer within 1 s"):
            sink.write(parts()[1])

    sink.write(parts()[1])
    assert len(tried.rows()["runs"]) == 2


def test_two_writers_of_one_submission_leave_one_of_the_two(tried: Tried) -> None:
    first, second = parts()[1], second_attempt()
    sinks = [PostgresSink(tried.place) for _ in range(2)]
    ended = threading.Event()
    failed: list[Exception] = []

    def write(sink: PostgresSink, one: Any) -> None:
        try:
            for _ in range(40):
                sink.write(one)
        except SinkError as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=pair) for pair in zip(sinks, (first, second), strict=True)]
    tried.sink.write(first)
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        found = tried.rows()
        seen.add((*(row[14] for row in found["runs"]), *(row[6] for row in found["files"]), len(found["answers"])))
    ended.set()

    assert failed == []
    assert seen <= {(1, "failed", 0), (2, "succeeded", 1)}


WRITER = """
import sys
from tests.support.sink_batch import parts, closing
from pathlib import Path
from paceline.sinks.registry import open_sink
sink = open_sink(sys.argv[1])
for _ in range(3):
    for one in parts(sys.argv[2]):
        sink.write(one)
done = closing(Path(sys.argv[3]), sys.argv[2])
sink.take_manifest(sys.argv[2], done.manifest)
sink.commit(done)
"""


def test_eight_processes_make_and_fill_one_schema_at_once(tried: Tried, tmp_path: Path) -> None:
    names = [f"b10000000{number}" for number in range(4)] * 2
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, tried.place, name, str(tmp_path / str(number))], cwd=ROOT)
        for number, name in enumerate(names)
    ]

    assert [process.wait(120) for process in started] == [0] * 8
    for number, name in enumerate(names):
        whole = wanted(tmp_path / "wanted" / str(number), parts(name), name)
        assert {table: len(found) for table, found in tried.rows(name).items()} == {
            table.name: len(whole[table.name]) for table in TABLES
        }
    assert tried.ask("SELECT batch FROM batches ORDER BY 1") == [(name,) for name in sorted(set(names))]


def test_a_machine_without_the_manifest_can_commit(tried: Tried, tmp_path: Path) -> None:
    done = closing(tmp_path)
    tried.sink.take_manifest(BATCH, done.manifest)
    Path(done.manifest).unlink()
    for one in parts():
        tried.sink.write(one)

    tried.sink.commit(done)

    assert tried.ask("SELECT count(*) FROM files WHERE outcome = 'skipped'") == [(3,)]
    assert tried.ask("SELECT state, summary->'files'->>'total' FROM batches") == [("complete", "13")]


def test_a_commit_without_all_submissions_is_refused(tried: Tried, tmp_path: Path) -> None:
    for one in parts()[1:]:
        tried.sink.write(one)

    with pytest.raises(
        SinkError, match=r"there are 2 submissions of batch b123456789, the ledger 3: .*paceline export"
    ):
        tried.sink.commit(closing(tmp_path))
    assert tried.ask("SELECT * FROM batches") == []


def test_a_path_longer_than_an_index_takes_is_cut_and_stays_itself(tried: Tried) -> None:
    folder = "".join(chr(0x4E00 + number * 37 % 20000) for number in range(1300))
    files = [PlannedFile(f"{folder}/{name}", 1, 10**18, name) for name in ("a", "b")]
    tried.sink.write(part(1, files, data={folder: {"value": {"deep": [[1e308, 10**4000]]}}}))

    found = tried.rows()
    assert len(found["files"]) == 2
    assert all(len(row[1].encode()) <= 2000 for row in found["files"])
    assert len(found["answers"]) == 1


MISTAKES = {
    "wrong host": ("postgresql://postgres@127.0.0.1:1/postgres", {}, "can't connect .*refused"),
    "unknown host": ("postgresql://postgres@host.invalid/postgres", {}, "can't connect .*resolve host"),
    "wrong password": (
        "{server}/postgres",
        {"PGPASSWORD": "wrong-secret-1"},
        "password authentication failed .*PGPASSWORD or ~/.pgpass",
    ),
    "no database": ("{server}/nope", {}, 'database "nope" does not exist'),
    "unknown option": ("{server}/postgres?sslmod=x", {}, "sslmod"),
    "schema of the server's own": ("{server}/postgres?schema=pg_x", {}, "no name for a schema"),
    "not UTF-8": ("{server}/latin", {}, "is in LATIN1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_before_anything_is_paid_for(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    place, environment, said = MISTAKES[mistake]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if mistake == "not UTF-8":
        with connected(postgres) as connection:
            connection.execute("DROP DATABASE IF EXISTS latin")
            connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")

    with pytest.raises(UsageError, match=said) as caught:
        PostgresSink(canonical(place.format(server=postgres.place().rpartition("/")[0]))).check(BATCH)
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert os.environ["PGPASSWORD"] not in str(caught.value)


def test_a_user_without_rights_is_told_what_to_ask_for(tried: Tried) -> None:
    tried.do("DROP ROLE IF EXISTS guest", f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    guest = canonical(tried.server.place(schema=tried.schema, user="guest"))
    with pytest.raises(UsageError, match="not allowed: grant this user USAGE and CREATE"):
        PostgresSink(guest).check(BATCH)

    tried.do(f"CREATE SCHEMA {tried.schema} AUTHORIZATION guest")
    PostgresSink(guest).check(BATCH)
    tried.do("ALTER ROLE guest SET default_transaction_read_only = on")
    with pytest.raises(UsageError, match="the server is read-only"):
        PostgresSink(guest).check(BATCH)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DROP TABLE paceline_schema", "the tables answers, batches, citations, files, runs there are not paceline's"),
        ("UPDATE paceline_schema SET version = 2", r"a newer paceline's \(version 2; this one writes 1\)"),
        ("ALTER TABLE files DROP COLUMN sha256", "files has been changed: it lacks sha256"),
    ],
)
def test_tables_that_are_not_this_versions_are_refused(tried: Tried, statement: str, said: str) -> None:
    tried.sink.check(BATCH)
    tried.do(statement)

    with pytest.raises(UsageError, match=rf"{said}: name another one with \?schema="):
        tried.sink.check(BATCH)
    with pytest.raises(SinkError, match=said):
        tried.sink.write(parts()[0])


def test_every_error_of_the_driver_has_one_meaning_and_none_of_its_words() -> None:
    classes: list[Any] = [
        one for one in vars(psycopg.errors).values() if isinstance(one, type) and issubclass(one, psycopg.Error)
    ]
    assert len(classes) > 200
    for one in classes:
        said = explain(one("SECRET words of a record"), "postgresql://host/db")
        assert said.startswith("postgresql://host/db: ")
        assert "SECRET" not in said
        if one.sqlstate:
            assert f"({one.sqlstate} {one.__name__})" in said


def test_connections_are_kept_for_the_next_part_and_closed_with_the_sink(tried: Tried) -> None:
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'paceline'"
    before = tried.ask(mine)[0][0]
    sink = PostgresSink(tried.place)
    for one in parts():
        sink.write(one)
    assert tried.ask(mine)[0][0] <= before + 1

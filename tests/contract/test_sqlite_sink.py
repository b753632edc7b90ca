"""A SQLite database as a destination: what stands in it, what it refuses, and what can't damage it."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing as closed_at_end
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import SinkError, UsageError
from paceline.model import PlannedFile
from paceline.sinks import sql
from paceline.sinks.places import canonical, sqlite_path
from paceline.sinks.registry import open_sink
from paceline.sinks.sqlite import SqliteSink
from paceline.tables import ANSWERS, TABLES
from tests.contract.sink_contract import SinkContract
from tests.contract.test_directory_sink import disk_with_room_for
from tests.support.sink_batch import BATCH, closing, part, parts, second_attempt
from tests.support.trees import as_another_user

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def reading(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Open a database as a person's program does."""
    with closed_at_end(sqlite3.connect(path, isolation_level=None)) as database:
        yield database


def rows(path: str | Path, batch: str) -> dict[str, list[Any]]:
    """Return what stands there of a batch, as one reader sees it at one moment."""
    with reading(path) as database:
        database.execute("BEGIN")
        return {
            table.name: database.execute(
                f"SELECT {', '.join(table.names)} FROM {table.name} WHERE batch = ?",  # noqa: S608  # our names
                (batch,),
            ).fetchall()
            for table in TABLES
        }


def batches(path: str | Path) -> list[Any]:
    with reading(path) as database:
        return database.execute("SELECT batch, state, summary, committed_at FROM batches ORDER BY batch").fetchall()


class TestSqlite(SinkContract):
    shows = ("runs", "answers", "files", "citations")
    ordered = False
    early = True
    one_batch = False
    steps = ("connect", "Connection.execute", "Connection.executemany", "Connection.close", "open", "fsync", "mkdir")

    def fresh(self) -> str:
        self.made_places = getattr(self, "made_places", 0) + 1
        return canonical(f"sqlite:///{self.folder}/{self.made_places}/x y.db")

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        path = sqlite_path(place)
        if not Path(path).exists() or not Path(path).stat().st_size:
            return None
        try:
            return rows(path, batch)
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise

    def traces(self, place: str) -> object:
        return [row[:3] for row in batches(sqlite_path(place))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "x.db"


def written(path: Path) -> SqliteSink:
    """Write the batch, without its commit."""
    sink = SqliteSink(str(path))
    for one in parts():
        sink.write(one)
    return sink


def test_file_and_folder_are_private_whatever_the_umask(path: Path) -> None:
    former = os.umask(0)
    try:
        SqliteSink(str(path)).check(BATCH)
        with reading(path) as database:
            database.execute("SELECT * FROM runs")
            written(path)
            modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    finally:
        os.umask(former)

    assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_readers_are_let_in_while_somebody_writes(path: Path) -> None:
    sink = written(path)
    seen: list[Any] = []

    def look() -> bool:
        seen.append((batches(path), len(rows(path, BATCH)["runs"])))
        return True

    sink.commit(closing(path.parent, still_open=look))

    assert seen == [([], 5)] * 2
    assert [row[0] for row in batches(path)] == [BATCH]


def test_a_batch_has_its_row_with_the_summary_and_keeps_the_time_of_its_commit(path: Path) -> None:
    sink = written(path)
    done = closing(path.parent, summary={"batch": BATCH, "name": "March", "credits": 1.5, "finished_at": "2026-01-01"})
    sink.commit(done)
    before = batches(path)

    sink.commit(done)

    assert batches(path) == before
    with reading(path) as database:
        row = database.execute("SELECT name, state, credits, finished_at, summary FROM batches").fetchone()
    assert row[:4] == ("March", "complete", 1.5, "2026-01-01")
    assert json.loads(row[4]) == done.summary


def test_a_commit_without_all_submissions_is_refused(path: Path) -> None:
    sink = SqliteSink(str(path))
    for one in parts()[1:]:
        sink.write(one)

    with pytest.raises(SinkError, match=r"has 2 submissions of batch b123456789, the ledger 3: .*paceline export"):
        sink.commit(closing(path.parent))
    assert batches(path) == []

    sink.write(parts()[0])
    sink.commit(closing(path.parent))
    assert len(batches(path)) == 1


def test_a_manifest_that_is_gone_is_a_clear_error(path: Path) -> None:
    with pytest.raises(SinkError, match=r"manifest /nowhere can't be read"):
        written(path).commit(closing(path.parent, manifest="/nowhere"))


def test_names_that_read_the_same_as_text_stop_no_submission(path: Path) -> None:
    twins = [PlannedFile(name, 1, 10**18, str(n)) for n, name in enumerate(["a\\xff", os.fsdecode(b"a\xff")])]
    data = {"a\x00": {"value": 1}, "a\\x00": {"value": 2}}

    SqliteSink(str(path)).write(part(1, twins, data=data))

    found = rows(path, BATCH)
    assert [row[ANSWERS.names.index("value")] for row in found["answers"]] == ["2"]
    assert len(found["runs"]) == 1


def test_tables_of_other_people_stay_and_ours_stand_beside_them(path: Path) -> None:
    path.parent.mkdir()
    with reading(path) as database:
        database.execute("CREATE TABLE clients (name)")
        database.execute("INSERT INTO clients VALUES ('Müller')")

    written(path).commit(closing(path.parent))

    with reading(path) as database:
        assert database.execute("SELECT * FROM clients").fetchall() == [("Müller",)]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE TABLE Runs (a)", "the table runs there is not paceline's"),
        ("CREATE VIEW files AS SELECT 1 AS a", "the table files there is not paceline's"),
        ("CREATE TABLE paceline_schema (a)", "the table paceline_schema there is not paceline's"),
    ],
)
def test_a_table_of_the_same_name_that_is_not_ours_is_refused(path: Path, statement: str, said: str) -> None:
    path.parent.mkdir()
    with reading(path) as database:
        database.execute(statement)

    with pytest.raises(UsageError, match=f"x.db.*{said}: name another file, or move those tables away"):
        SqliteSink(str(path)).check(BATCH)
    with pytest.raises(SinkError, match=said):
        SqliteSink(str(path)).write(parts()[0])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE paceline_schema SET version = 2", r"a newer paceline's \(version 2; this one writes 1\)"),
        ("UPDATE paceline_schema SET version = 0", r"an older paceline's"),
        ("ALTER TABLE answers DROP COLUMN confidence", "answers has been changed: it lacks confidence"),
        ("DROP TABLE batches", "batches has been changed"),
    ],
)
def test_a_schema_that_is_not_this_versions_is_refused(path: Path, statement: str, said: str) -> None:
    SqliteSink(str(path)).check(BATCH)
    with reading(path) as database:
        database.execute(statement)

    with pytest.raises(UsageError, match=said):
        SqliteSink(str(path)).check(BATCH)


def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    text, folder, pipe = tmp_path / "a.db", tmp_path / "b.db", tmp_path / "c.db"
    text.write_text("these are\nmy notes, and long enough to be looked at" * 30)
    folder.mkdir()
    os.mkfifo(pipe)

    with pytest.raises(UsageError, match=r"a\.db is no SQLite database: choose another --to"):
        SqliteSink(str(text)).check(BATCH)
    assert text.read_text().startswith("these are")
    for place in (folder, pipe):
        with pytest.raises(UsageError, match="is no file"):
            SqliteSink(str(place)).check(BATCH)


def test_a_file_without_permission_to_write_is_named() -> None:
    code = """
import os, tempfile
from paceline.errors import UsageError
from paceline.sinks.sqlite import SqliteSink
#become
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "x.db")
    SqliteSink(path).check(None)
    os.chmod(path, 0o400)
    try:
        SqliteSink(path).check(None)
    except UsageError as error:
        print(error)
    os.chmod(path, 0o600)
    SqliteSink(path).check(None)
    os.chmod(folder, 0o500)
    try:
        SqliteSink(os.path.join(folder, "y.db")).check(None)
    except UsageError as error:
        print(error)
    os.chmod(folder, 0o700)
"""
    first, second = as_another_user(code).splitlines()
    assert re.fullmatch(r"output '(.*/x\.db)': not allowed to write \1: make file and folder writable for .*", first)
    assert re.fullmatch(r"output '(.*/y\.db)': not allowed to write .*: make .* choose another --to", second)


def test_a_full_disk_is_told_and_the_same_part_is_written_later(path: Path) -> None:
    sink = SqliteSink(str(path))
    sink.check(BATCH)
    big = part(1, [PlannedFile("a", 1, 10**18, "a")], data={"text": "word " * 100_000})

    with disk_with_room_for(60_000), pytest.raises(SinkError, match=r"(no room to|can't) write .*x\.db"):
        sink.write(big)
    assert rows(path, BATCH)["runs"] == []

    sink.write(big)
    assert len(rows(path, BATCH)["runs"]) == 1


def test_a_database_that_somebody_locks_is_told_and_written_later(path: Path) -> None:
    sink = SqliteSink(str(path), busy_s=0.1)
    sink.check(BATCH)
    with reading(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkError, match=r"was locked by another program for 0\.1 s"):
            sink.write(parts()[0])
        with pytest.raises(UsageError, match="was locked"):
            sink.check(BATCH)

    sink.write(parts()[0])
    assert len(rows(path, BATCH)["runs"]) == 1


def test_a_file_that_is_moved_away_is_made_again(path: Path) -> None:
    sink = SqliteSink(str(path))
    sink.write(parts()[0])
    path.rename(path.with_name("kept.db"))

    sink.write(parts()[1])

    assert [row[1] for row in rows(path, BATCH)["runs"]] == [parts()[1].submission]


WRITER = """
import sys
from tests.support.sink_batch import parts, closing
from pathlib import Path
from paceline.sinks.registry import open_sink
sink = open_sink(sys.argv[1])
batch = sys.argv[2]
for _ in range(3):
    for one in parts(batch):
        sink.write(one)
done = closing(Path(sys.argv[3]), batch)
sink.commit(done)
"""


def test_eight_processes_make_and_write_one_database_at_once(tmp_path: Path, path: Path) -> None:
    names = [f"b10000000{number}" for number in range(4)] * 2
    place = canonical(f"sqlite:///{path}")
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, place, name, str(tmp_path / str(number))], cwd=ROOT)
        for number, name in enumerate(names)
    ]

    assert [process.wait(120) for process in started] == [0] * 8
    for name in names:
        found = rows(path, name)
        assert {table: len(found[table]) for table in found} == {
            table.name: sum(len(one) for one in wanted_rows(name, table.name)) for table in TABLES
        }
    assert [row[0] for row in batches(path)] == sorted(set(names))


def wanted_rows(batch: str, table: str) -> list[list[Any]]:
    """Return the rows that the parts of a batch leave, and for `files` three of skipped files."""
    from paceline.tables import rows_of

    found = [list(rows_of(one)[table]) for one in parts(batch)]
    return [*found, [None] * 3] if table == "files" else found


def test_a_reader_sees_the_first_or_the_second_attempt_and_nothing_between(path: Path) -> None:
    sink = written(path)
    first, second = parts()[1], second_attempt()
    ended = threading.Event()

    def write() -> None:
        for number in range(60):
            sink.write((second, first)[number % 2])
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not ended.is_set():
        found = rows(path, BATCH)
        runs = [row[14] for row in found["runs"] if row[1] == first.submission]
        files = [row[6] for row in found["files"] if row[5] == first.submission]
        seen.add((*runs, *files, sum(row[1] == first.submission for row in found["answers"])))
    writer.join()

    assert seen <= {(1, "failed", 0), (2, "succeeded", 1)}
    assert seen


def test_statements_make_tables_with_the_columns_that_are_documented() -> None:
    with closed_at_end(sqlite3.connect(":memory:")) as database:
        for statement in sql.create(sql.SQLITE):
            database.execute(statement)
        for table in sql.EVERY:
            info = database.execute(f"PRAGMA table_info({table.name})").fetchall()
            assert [row[1] for row in info] == list(table.names)
            assert tuple(row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]) == table.key


def test_json_keeps_everything_but_what_no_jsonb_takes() -> None:
    assert sql.storable_json('{"a":"\\\\u0000 \\ud83e\\uddfe"}') == '{"a":"\\\\u0000 🧾"}'
    assert sql.storable_json('["\\u0000","\\udcff",1e5,12345678901234567890]') == (
        '["\\\\x00","\\\\udcff",100000.0,12345678901234567890]'
    )
    assert sql.storable_json('{"b\\u0000":[null,true]}') == '{"b\\\\x00":[null,true]}'


def test_the_registry_opens_it(path: Path) -> None:
    sink = open_sink(canonical(f"sqlite:///{path}"))
    assert isinstance(sink, SqliteSink)
    assert sink.path == path

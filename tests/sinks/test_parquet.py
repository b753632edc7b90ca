"""`x.parquet`, read back with pyarrow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from paceline.sinks import parquet_file
from paceline.sinks.base import Part
from paceline.sinks.registry import open_sink
from paceline.tables import ANSWERS, CITATIONS, FILES, RUNS, Kind, Row, Table
from tests.contract.test_file_sinks import FileContract
from tests.support.sink_batch import BATCH, closing, parts, wanted


def rows_in(path: Path, table: Table) -> list[Row]:
    """Return the rows, times as datetimes."""
    found = pq.read_table(path)
    assert tuple(found.column_names) == table.names
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True)) if found.num_rows else []


def with_times(rows: Sequence[Row], table: Table) -> list[Row]:
    """Return rows with datetimes where the table's are texts."""
    times = [column.kind is Kind.TIME for column in table.columns]
    return [
        tuple(
            datetime.fromisoformat(value) if is_time and value else value
            for value, is_time in zip(row, times, strict=True)
        )
        for row in rows
    ]


class ParquetContract(FileContract):
    table: ClassVar[Table]

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        return {self.table.name: rows_in(Path(place), self.table)} if Path(place).exists() else None

    def wanted(self, kept: Sequence[Part], batch: str = BATCH) -> dict[str, list[Any]]:
        return {name: with_times(rows, self.table) for name, rows in super().wanted(kept, batch).items()}


class TestAnswers(ParquetContract):
    name = "out.parquet"
    table = ANSWERS
    shows = ("answers",)
    keeps_skipped = False
    most_kills = 12


class TestFiles(ParquetContract):
    name = "x.files.parquet"
    table = FILES
    shows = ("files",)
    most_kills = 12


class TestRuns(ParquetContract):
    name = "runs.parquet"
    table = RUNS
    shows = ("runs",)
    keeps_skipped = False
    most_kills = 6


class TestCitations(ParquetContract):
    name = "citations.parquet"
    table = CITATIONS
    shows = ("citations",)
    keeps_skipped = False
    most_kills = 6


@pytest.mark.parametrize("table", [RUNS, ANSWERS, FILES, CITATIONS])
def test_columns_are_typed(tmp_path: Path, table: Table) -> None:
    place = str(tmp_path / f"x.{table.name}.parquet")
    sink = open_sink(place)
    for one in parts():
        sink.write(one)
    sink.commit(closing(tmp_path))

    schema = pq.read_schema(place)

    types = {
        Kind.TEXT: pa.string(),
        Kind.JSON: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.REAL: pa.float64(),
        Kind.TIME: pa.timestamp("us", tz="UTC"),
    }
    assert list(schema.types) == [types[column.kind] for column in table.columns]
    assert pq.read_table(place).num_rows == len(wanted(tmp_path, parts())[table.name])


def test_rows_are_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "GROUP_ROWS", 4)
    place = str(tmp_path / "files.parquet")
    sink = open_sink(place)
    for one in parts():
        sink.write(one)

    sink.commit(closing(tmp_path))

    assert pq.ParquetFile(place).num_row_groups == 4
    assert rows_in(Path(place), FILES) == with_times(wanted(tmp_path, parts())["files"], FILES)


def test_times_are_utc_to_the_microsecond(tmp_path: Path) -> None:
    place = str(tmp_path / "files.parquet")
    sink = open_sink(place)
    for one in parts():
        sink.write(one)
    sink.commit(closing(tmp_path))

    first = pq.read_table(place).to_pylist()[0]

    assert first["mtime"] == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


def test_pyarrow_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, cli.main\nfrom paceline.sinks.registry import open_sink\nopen_sink('/tmp/x.csv')"
    code += "\nprint('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"

"""Write one table of a batch as Parquet, with pyarrow, a row group at a time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from paceline.errors import UsageError
from paceline.sinks.base import Closing, Part
from paceline.sinks.single import FileSink
from paceline.tables import FILES, Column, Kind, Row, Table, rows_of, skipped_row, table_for

GROUP_ROWS = 16_384
GROUP_BYTES = 16 << 20
"""A row group ends at either: what is in memory at a time, and what a reader takes at a time."""


class ParquetSink(FileSink):
    """`x.parquet`: the same tables as CSV, typed: times are timestamps in UTC, JSON is text."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise UsageError(
                f"output {str(self.path)!r}: Parquet needs pyarrow: pip install 'paceline[parquet]'"
            ) from error
        self._pa: Any = pa
        self._pq: Any = pq

    def merge(self, closing: Closing, write: Callable[[bytes], object]) -> None:
        """Write the row groups."""
        table = table_for(str(self.path))
        schema = self._schema(table)
        with self._pq.ParquetWriter(_Stream(write), schema, compression="zstd") as writer:
            for rows in _groups(self._rows(table, closing)):
                columns = zip(*rows, strict=True)
                arrays = [
                    self._pa.array(_values(column, cells), type=field.type)
                    for column, field, cells in zip(table.columns, schema, columns, strict=True)
                ]
                writer.write_table(self._pa.Table.from_arrays(arrays, schema=schema), row_group_size=GROUP_ROWS)

    def _schema(self, table: Table) -> Any:
        kinds = {
            Kind.TEXT: self._pa.string(),
            Kind.JSON: self._pa.string(),
            Kind.INTEGER: self._pa.int64(),
            Kind.REAL: self._pa.float64(),
            Kind.TIME: self._pa.timestamp("us", tz="UTC"),
        }
        return self._pa.schema([(column.name, kinds[column.kind]) for column in table.columns])

    def _rows(self, table: Table, closing: Closing) -> Iterator[Row]:
        for entry in self.parts.merged(closing):
            if isinstance(entry, Part):
                yield from rows_of(entry)[table.name]
            elif table is FILES:
                yield skipped_row(closing.batch, entry)


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(value) for value in row if isinstance(value, str))
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _values(column: Column, cells: tuple[Any, ...]) -> Any:
    if column.kind is not Kind.TIME:
        return cells
    return [None if cell is None else datetime.fromisoformat(cell) for cell in cells]


class _Stream(io.RawIOBase):
    """What pyarrow writes into: bytes go on to a function, and their number is known."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._to = write
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._to(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

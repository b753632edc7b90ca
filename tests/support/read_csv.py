"""Read a CSV file of ours back, by Python's own reader, with every cell as the row of its table had it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from paceline.sinks.csv_file import unguard
from paceline.tables import Kind, Row, Table


def read_csv(path: Path, table: Table) -> list[Row]:
    """Return the rows beneath the header. Python's reader doesn't tell an empty text from none: both are None."""
    csv.field_size_limit(1 << 30)
    header, *lines = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
    assert tuple(header) == table.names
    kinds = [column.kind for column in table.columns]
    return [tuple(_cell(text, kind) for text, kind in zip(line, kinds, strict=True)) for line in lines]


def without_empty_texts(rows: list[Row]) -> list[Row]:
    """Return rows as `read_csv` gives them."""
    return [tuple(None if value == "" else value for value in row) for row in rows]


def _cell(text: str, kind: Kind) -> Any:
    if not text:
        return None
    if kind is Kind.INTEGER:
        return int(text)
    if kind is Kind.REAL:
        return float(text)
    return unguard(text) if kind in (Kind.TEXT, Kind.JSON) else text

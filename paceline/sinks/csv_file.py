"""Write one table of a batch as CSV: RFC 4180, UTF-8, a header, and nothing that a spreadsheet takes for a formula.

A missing value is an empty cell, an empty text is `""`. A text that a spreadsheet could take for a formula is written
with an apostrophe before it. So is a text that already looks like one of those; taking one apostrophe away from what
then looks dangerous gives back every text as it was (`unguard`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from paceline.halving import REASON
from paceline.sinks.base import Closing, Part
from paceline.sinks.single import FileSink
from paceline.tables import ANSWERS, FILES, RUNS, Kind, Row, Table, about, rows_of, skipped_row, table_for

_FORMULA = re.compile(r"'*(?:[\t\r\n]|[\s\x00-\x20\u200b\ufeff]*[=+\-@＝＋－＠])")
"""What begins a formula, or a command (OWASP, CSV Injection): also behind spaces, which spreadsheets trim."""

_NEGATIVE = re.compile(r"-[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_QUOTED = re.compile(r'[",;\t\r\n]|^\s|\s$|^$')
_TEXTS = (Kind.TEXT, Kind.JSON)


class CsvSink(FileSink):
    """`x.csv`: a row per run and prompt, or what `table_for` reads in its name."""

    def merge(self, closing: Closing, write: Callable[[bytes], object]) -> None:
        """Write the rows."""
        table = table_for(str(self.path))
        texts = [column.kind in _TEXTS for column in table.columns]
        write(_line(table.names, [True] * len(texts)))
        for entry in self.parts.merged(closing):
            for row in _rows(table, closing.batch, entry):
                write(_line(row, texts))


def _rows(table: Table, batch: str, entry: Any) -> Iterator[Row]:
    if not isinstance(entry, Part):
        if table is FILES:
            yield skipped_row(batch, entry)
        return
    rows = rows_of(entry)[table.name]
    yield from rows
    if table is ANSWERS and not rows and entry.record["reason"] != REASON:
        yield unanswered(entry)


def unanswered(part: Part) -> Row:
    """Return the row of a run without answers, with an empty prompt: a failure that people would miss otherwise."""
    run = dict(zip(RUNS.names, rows_of(part)[RUNS.name][0], strict=True))
    said = {
        "batch": run["batch"],
        "submission": run["submission"],
        "about": about(part.record),
        "prompt": "",
        "run_id": run["run_id"],
        "status": run["outcome"],
        "error": run["error_message"] or run["reason"],
    }
    return tuple(said.get(name) for name in ANSWERS.names)


def guard(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula; negative numbers stay as they are."""
    return f"'{text}" if _is_dangerous(text) else text


def unguard(text: str) -> str:
    """Return the text that `guard` was given."""
    return text[1:] if text.startswith("'") and _is_dangerous(text[1:]) else text


def _is_dangerous(text: str) -> bool:
    return _FORMULA.match(text) is not None and _NEGATIVE.fullmatch(text) is None


def _line(values: Sequence[Any], texts: Sequence[bool]) -> bytes:
    cells = (_cell(value, is_text) for value, is_text in zip(values, texts, strict=True))
    return ",".join(cells).encode("utf-8", "backslashreplace") + b"\r\n"


def _cell(value: Any, is_text: bool) -> str:
    if value is None:
        return ""
    if not is_text:
        return str(value)
    text = guard(str(value))
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text

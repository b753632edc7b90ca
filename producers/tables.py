"""Read a list with columns: what belongs together, what goes first, and what is said of each file.

    x.csv     a header, then a row for each file: path, and if wanted group, priority and metadata.NAME
    x.jsonl   an object for each: {"path", "group", "priority", "metadata": {NAME: a string, number, true, false, null}}

UTF-8, with or without a mark at its beginning. In a CSV the header says whether commas, semicolons or tabs separate.
Every error names file and line: a row that is taken for something else may be paid for wrongly.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from paceline.errors import UsageError
from paceline.model import Metadata
from producers.lists import Named
from producers.walking import not_found

SUFFIXES = (".csv", ".jsonl")
COLUMNS = ("path", "group", "priority", "metadata")
METADATA = "metadata."
MOST_PRIORITY = 1_000_000_000
_FIELD_BYTES = 1 << 24
_MARK = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_EXAMPLE = 'write a line like {"path": "a.pdf"} for each file'
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}", re.ASCII)


def read_table(file: str) -> Iterator[Named]:
    """Read a list row by row. Raises `UsageError` for the first that is wrong, with its line and what would do."""
    try:
        with open(file, "rb") as stream:
            lines = _Lines(file, stream)
            yield from _read_csv(file, lines) if file.lower().endswith(".csv") else _read_jsonl(file, lines)
    except OSError as error:
        raise UsageError(not_found(file, error)) from error


class _Lines:
    """The lines of a file as text, each with its end."""

    def __init__(self, file: str, stream: BinaryIO) -> None:
        self._file = file
        self._stream = stream
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        self.number += 1
        if self.number == 1:
            if line.startswith(_UTF16):
                raise UsageError(f"{self._file} is UTF-16: save it as UTF-8 (in Excel: CSV UTF-8)")
            line = line.removeprefix(_MARK)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{self._file}, line {self.number}: not UTF-8; save the file as UTF-8 (in Excel: CSV UTF-8)"
            ) from error


def _read_csv(file: str, lines: _Lines) -> Iterator[Named]:
    first = next(lines, "")
    header = _header(file, first)
    csv.field_size_limit(_FIELD_BYTES)
    rows = csv.reader(_behind(first, lines), delimiter=header.delimiter, strict=True)
    begins = 1
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            raise UsageError(f"{file}, line {begins}: {error}; check the quotes from there on") from error
        if cells is None:
            return
        if begins > 1 and any(cells):
            yield _from_cells(f"{file}, line {begins}", header, cells, begins)
        begins = rows.line_num + 1


class _Header:
    """What the columns of a CSV are. `names` are in lower case, but for what follows `metadata.`."""

    def __init__(self, delimiter: str, names: Sequence[str]) -> None:
        self.delimiter = delimiter
        self.names = [_column(name) for name in names]


def _column(name: str) -> str:
    name = name.strip()
    if name.lower().startswith(METADATA):
        return METADATA + name[len(METADATA) :].strip()
    return name.lower() if name.lower() in COLUMNS else name


def _header(file: str, line: str) -> _Header:
    """Read the first line: of the three delimiters, the one that makes a column `path` of it, and the most columns."""
    found = [_Header(sign, _cells(line, sign)) for sign in ",;\t"]
    header = max(found, key=lambda one: ("path" in one.names, len(one.names)))
    names = header.names
    if "path" not in names:
        raise UsageError(
            f"{file} has no column 'path': its first line has to name the columns, and is {_some(names)};"
            f" name the one with the files 'path'. {_as_document(file)}"
        )
    _refuse_own(file, names)
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{file}, line 1: two columns are named {name!r}; rename one")
    unknown = [name for name in names if name not in COLUMNS[:-1] and not (name.startswith(METADATA) and name[9:])]
    if unknown:
        new = header.delimiter.join(METADATA + (name or "NAME") if name in unknown else name for name in names)
        raise UsageError(
            f"{file}, line 1: unknown {'column' if len(unknown) == 1 else 'columns'} {_some(unknown)}; what is to"
            f" travel into the results is named metadata.NAME, so make the line: {new}"
        )
    return header


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _behind(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _from_cells(where: str, header: _Header, cells: list[str], line: int) -> Named:
    if len(cells) != len(header.names):
        raise UsageError(
            f"{where}: {len(cells)} values, the header names {len(header.names)}; put quotes around a value with"
            f" {header.delimiter!r} in it"
        )
    row = dict(zip(header.names, cells, strict=True))
    text = row.get("priority", "").strip()
    if text and not _NUMBER.fullmatch(text):
        raise UsageError(f"{where}: priority {text!r} is no whole number; write one like 10, or leave it empty")
    metadata = tuple((name[len(METADATA) :], value) for name, value in row.items() if name.startswith(METADATA))
    return Named(_path(where, row["path"]), line, row.get("group", ""), _within(where, int(text or 0)), metadata)


def _read_jsonl(file: str, lines: _Lines) -> Iterator[Named]:
    for line in lines:
        if not line.strip():
            continue
        where = f"{file}, line {lines.number}"
        try:
            row = json.loads(line, object_pairs_hook=_pairs)
        except (ValueError, RecursionError) as error:
            said = getattr(error, "msg", None) or str(error) or "nested too deeply"
            raise UsageError(
                f'{where}: no JSON ({said}); write a line like {{"path": "a.pdf"}} for each file'
            ) from error
        if not isinstance(row, dict):
            raise UsageError(f"{where}: no JSON object; {_EXAMPLE}")
        _refuse_own(file, row)
        yield _from_object(where, row, lines.number, file)


class _Twice(ValueError):
    """A JSON object has a key twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("a key stands there twice")
    return found


def _from_object(where: str, row: Mapping[str, Any], line: int, file: str) -> Named:
    if "path" not in row:
        raise UsageError(f"{where}: no 'path', but {_some(list(row))}. {_as_document(file)}")
    if unknown := [name for name in row if name not in COLUMNS]:
        raise UsageError(
            f'{where}: unknown {_some(unknown)}; what is to travel into the results goes into "metadata": {{…}}'
        )
    path, group, priority, metadata = (row.get(name) for name in COLUMNS)
    if not isinstance(path, str):
        raise UsageError(f"{where}: path is no string")
    if isinstance(group, int) and not isinstance(group, bool):
        group = str(group)
    if not isinstance(group, str | None):
        raise UsageError(f"{where}: group is no string")
    if isinstance(priority, bool) or not isinstance(priority, int | None):
        raise UsageError(f"{where}: priority {priority!r} is no whole number; write one like 10, or leave it out")
    return Named(_path(where, path), line, group or "", _within(where, priority or 0), _metadata(where, metadata))


def _metadata(where: str, value: object) -> Metadata:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise UsageError(f'{where}: metadata is no object; write "metadata": {{"customer": "ACME"}}')
    for name, one in value.items():
        if isinstance(one, dict | list):
            raise UsageError(f"{where}: metadata {name!r} is nested; write its parts one by one, or as a string")
        if isinstance(one, float) and not math.isfinite(one):
            raise UsageError(f"{where}: metadata {name!r} is {one}, which JSON has no number for; write null")
    return tuple(value.items())


def _path(where: str, path: str) -> str:
    if not path.strip():
        raise UsageError(f"{where}: the path is empty; take the row out, or name its file")
    try:
        possible = b"\0" not in path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise UsageError(f"{where}: no file can have the path {path!r}")
    return path


def _within(where: str, priority: int) -> int:
    if abs(priority) > MOST_PRIORITY:
        raise UsageError(f"{where}: priority {priority} is out of bounds; write one between ±{MOST_PRIORITY}")
    return priority


def _refuse_own(file: str, names: Iterable[str]) -> None:
    if "submission" in names and ({"outcome", "mtime_ns"} & set(names)):
        raise UsageError(
            f"{file} was written by paceline (a batch's manifest or results) and is no list of files: its paths are"
            " relative to that batch's source. To run failed files again: paceline retry BATCH; else make a list of"
            " the paths alone, and put it beside them"
        )


def _as_document(file: str) -> str:
    path = Path(file)
    return f"To send {path.name} itself as a document: paceline run {path.parent} --include {path.name!r}"


def _some(names: Sequence[str], most: int = 8) -> str:
    if not names:
        return "none"
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")

"""The tabular shape of results: four tables that CSV, Parquet, SQLite and PostgreSQL share.

    runs        a row per submission
    answers     a row per run and prompt: what it is about, value, status, confidence, credits
    files       a row per file of the manifest, skipped ones too
    citations   a row per place that an answer cites

Rows are made of a `Part` and nothing else, so writing one again gives the same rows. A submission's rows are replaced
together; keys are unique within a database of any number of batches. Texts are texts; `json` columns hold JSON as text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from paceline import jsonl
from paceline.manifest import ManifestRow
from paceline.sinks.base import Part, skipped_record


class Kind(StrEnum):
    """What a column holds; None (NULL) is allowed in each that isn't part of a key."""

    TEXT = "text"
    INTEGER = "integer"  # fits 64 bits
    REAL = "real"
    TIME = "time"  # ISO 8601 in UTC, as in the records
    JSON = "json"  # one JSON value, as text


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: Kind = Kind.TEXT
    about: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `key` names the columns that tell its rows apart; `batch` and `submission` are columns of each."""

    name: str
    about: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' names, in order."""
        return tuple(column.name for column in self.columns)


Row = tuple[Any, ...]
"""The values of a row, in the order of its table's columns: str, int, float or None."""

RUNS = Table(
    "runs",
    "a row per submission",
    ("batch", "submission"),
    (
        Column("batch"),
        Column("submission"),
        Column("outcome", about="succeeded, failed or cancelled"),
        Column("reason"),
        Column("error_category"),
        Column("error_phase"),
        Column("error_message"),
        Column("http_status", Kind.INTEGER),
        Column("provider"),
        Column("account"),
        Column("agent"),
        Column("run_id"),
        Column("run_url"),
        Column("external_id", about="`<batch>.<submission>`, the run's name at the provider where it takes one"),
        Column("attempts", Kind.INTEGER),
        Column("files", Kind.INTEGER, "how many files it has"),
        Column("grouped", about="the group that its files are, with `--group-by`"),
        Column("planned_at", Kind.TIME),
        Column("submitted_at", Kind.TIME),
        Column("finished_at", Kind.TIME),
        Column("credits", Kind.REAL),
        Column("raw_status", about="the provider's own word"),
    ),
)

ANSWERS = Table(
    "answers",
    "a row per run and prompt",
    ("batch", "submission", "prompt"),
    (
        Column("batch"),
        Column("submission"),
        Column("about", about="what it is about: the group, else the path of the run's only file; else empty"),
        Column("prompt", about="for Kindo: `text`, `json` and `result`"),
        Column("position", Kind.INTEGER, "of the prompt in its run, from 1"),
        Column("run_id"),
        Column("status"),
        Column("value", about="a text as it is, anything else as JSON"),
        Column("value_json", Kind.JSON, "the same, always as JSON"),
        Column("error"),
        Column("confidence", Kind.REAL),
        Column("reasoning"),
        Column("credits", Kind.REAL),
    ),
)

FILES = Table(
    "files",
    "a row per file, skipped ones too",
    ("batch", "path"),
    (
        Column("batch"),
        Column("path", about="relative to the source"),
        Column("size_bytes", Kind.INTEGER),
        Column("mtime", Kind.TIME),
        Column("sha256", about="of the bytes sent"),
        Column("submission"),
        Column("outcome"),
        Column("reason"),
        Column("grouped", about="its group, from a list or `--group-by`"),
        Column("metadata", Kind.JSON, "what a list said of it, as an object"),
    ),
)

CITATIONS = Table(
    "citations",
    "a row per place that an answer cites",
    ("batch", "submission", "prompt", "number"),
    (
        Column("batch"),
        Column("submission"),
        Column("prompt"),
        Column("number", Kind.INTEGER, "of the row within its answer, from 1"),
        Column("file", about="the name it was uploaded under"),
        Column("page", Kind.INTEGER),
        Column("x", Kind.REAL),
        Column("y", Kind.REAL),
        Column("text"),
        Column("url"),
        Column("title"),
    ),
)

TABLES = (RUNS, ANSWERS, FILES, CITATIONS)


def table_for(path: str) -> Table:
    """Return the table that a single file holds, by its name: `x.files.csv`, `files.parquet`; otherwise `answers`."""
    word = Path(path).stem.rpartition(".")[2].lower()
    return next((table for table in TABLES if table.name == word), ANSWERS)


def rows_of(part: Part) -> dict[str, list[Row]]:
    """Return a submission's rows by table name."""
    record = part.record
    answers = list(_answers(record))
    return {
        RUNS.name: [_run(record)],
        ANSWERS.name: [answer for answer, _ in answers],
        FILES.name: [_file(record["batch"], file) for file in part.files],
        CITATIONS.name: [row for _, cited in answers for row in cited],
    }


def about(record: Mapping[str, Any]) -> str | None:
    """Return what a run's answers are about: the group of its files, else its only file; None where it has several."""
    files = record["files"]
    return _text(record.get("group") or (files[0] if len(files) == 1 else None))


def skipped_row(batch: str, row: ManifestRow) -> Row:
    """Return the row of `files` for a file that is in no submission."""
    return _file(batch, skipped_record(row))


def _run(record: Mapping[str, Any]) -> Row:
    error = record.get("error") or {}
    usage = record.get("usage") or {}
    values = (
        record["batch"],
        record["submission"],
        record["outcome"],
        record["reason"],
        error.get("category"),
        error.get("phase"),
        error.get("message"),
        _integer(error.get("http_status")),
        record["provider"],
        record["account"],
        record["agent"],
        record["run_id"],
        record["run_url"],
        record["external_id"],
        record["attempts"],
        len(record["files"]),
        record.get("group"),
        record["planned_at"],
        record["submitted_at"],
        record["finished_at"],
        _number(usage.get("credits")),
        record["raw_status"],
    )
    return tuple(_text(value) if isinstance(value, str) else value for value in values)


def _file(batch: str, file: Mapping[str, Any]) -> Row:
    metadata = file.get("metadata")
    return (
        batch,
        *(_text(file[name]) if isinstance(file[name], str) else file[name] for name in FILES.names[1:8]),
        _text(file.get("group")),
        _json(metadata) if metadata else None,
    )


def _answers(record: Mapping[str, Any]) -> Iterator[tuple[Row, list[Row]]]:
    """Give each answer's row with those of its citations.

    A prompt's entry is taken apart where it looks like one (Kolena's have a `status` or a `value`); any other value
    (Kindo's text) is the answer itself, and one that is null is none.
    """
    ids = (record["batch"], record["submission"])
    subject = about(record)
    run_id = _text(record["run_id"])
    by = (record.get("usage") or {}).get("by") or {}
    for position, (prompt, entry) in enumerate(record["data"].items(), 1):
        name = _text(prompt) or ""
        if not isinstance(entry, Mapping) or not {"status", "value"} & set(entry):
            if _plain(entry) is not None:
                said = (_text(record["raw_status"]), _plain(entry), _json(entry), None, None, None, None)
                yield (*ids, subject, name, position, run_id, *said), []
            continue
        value = entry.get("value")
        metadata = entry.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        answer = (
            *ids,
            subject,
            name,
            position,
            run_id,
            _plain(entry.get("status")),
            _plain(value),
            None if _plain(value) is None else _json(value),
            _plain(entry.get("error")),
            _number(metadata.get("confidence")),
            _plain(metadata.get("reasoning")),
            _number(by.get(prompt)),
        )
        cited = [*_citations(metadata.get("citations")), *_url_citations(metadata.get("url_citations"))]
        yield answer, [(*ids, name, number, *row) for number, row in enumerate(cited, 1)]


def _citations(cited: object) -> Iterator[Row]:
    """Give (file, page, x, y, text, url, title) for each region; where there are none, each page; else the file."""
    for one in _objects(cited):
        file = _plain(one.get("file"))
        regions = list(_objects(one.get("regions")))
        for region in regions:
            point = region.get("point")
            x, y = point if isinstance(point, Sequence) and len(point) == 2 else (None, None)
            yield file, _integer(region.get("page")), _number(x), _number(y), _plain(region.get("text")), None, None
        pages = one.get("pages")
        pages = pages if isinstance(pages, Sequence) and not isinstance(pages, str) else ()
        shown = [region.get("page") for region in regions]
        for page in [page for page in pages if page not in shown] or ([] if regions else [None]):
            yield file, _integer(page), None, None, None, None, None


def _url_citations(cited: object) -> Iterator[Row]:
    for one in _objects(cited):
        said = (_plain(one.get(name)) for name in ("cited_text", "url", "title"))
        yield None, None, None, None, *said


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _plain(value: object) -> str | None:
    """Return a text as it is, anything else as JSON; None for what JSON has no word but null for."""
    if value is None or isinstance(value, str):
        return _text(value)
    return None if isinstance(value, float) and not math.isfinite(value) else _json(value)


def _json(value: object) -> str:
    return jsonl.encode({"v": value}).decode()[5:-1]


def _text(value: str | None) -> str | None:
    """Return a text that every database and file takes.

    What can't be encoded is escaped (`\\udcff`, so names stay apart); NUL, which PostgreSQL has no room for, too.
    """
    if value is None:
        return None
    return value.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond every float
        return None


def _integer(value: object) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if usable else None  # type: ignore[return-value]  # mypy loses the narrowing through the name

"""Find the sink that a `--to` means."""

from __future__ import annotations

from functools import lru_cache

from paceline.errors import UsageError
from paceline.sinks.base import Sink
from paceline.sinks.csv_file import CsvSink
from paceline.sinks.directory import DirectorySink
from paceline.sinks.jsonl_file import JsonlSink
from paceline.sinks.parquet_file import ParquetSink
from paceline.sinks.places import PlaceKind, kind_of, sqlite_path


def open_sink(url: str) -> Sink:
    """Return the sink for a canonical destination, with its driver loaded. Touches nothing.

    Raises `UsageError` for an unknown form, or one whose driver isn't installed.
    """
    if not url:
        raise UsageError("no output given: name a folder with --to")
    match kind_of(url):
        case PlaceKind.FOLDER:
            return DirectorySink(url)
        case PlaceKind.JSONL:
            return JsonlSink(url)
        case PlaceKind.CSV:
            return CsvSink(url)
        case PlaceKind.PARQUET:
            return ParquetSink(url)
        case PlaceKind.STORE:
            from paceline.sinks.store import StoreSink

            return StoreSink(url)
        case PlaceKind.SQLITE:
            from paceline.sinks.sqlite import SqliteSink

            return SqliteSink(sqlite_path(url))
        case PlaceKind.POSTGRES:
            from paceline.sinks.postgres import PostgresSink

            return PostgresSink(url)
        case PlaceKind.WEBHOOK:
            from paceline.sinks.webhook import WebhookSink

            return WebhookSink(url)


@lru_cache(maxsize=64)
def shared_sink(url: str) -> Sink:
    """Return the one sink of this process for a destination; sinks may be used from many threads."""
    return open_sink(url)


def check_writable(url: str, batch: str | None = None) -> None:
    """Make the destination and try to write there, before anything is paid for; raises as `Sink.check`."""
    open_sink(url).check(batch)

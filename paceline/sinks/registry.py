"""Find the sink that a `--to` means."""

from __future__ import annotations

import os
from pathlib import Path

from paceline.durable import Aside, make_private_dir, remove_leftovers, writing
from paceline.errors import SinkError, UsageError
from paceline.model import batch_of
from paceline.sinks.base import Sink
from paceline.sinks.directory import SUCCESS, DirectorySink

_LATER = (".jsonl", ".csv", ".parquet")


def open_sink(url: str) -> Sink:
    """Return the sink for a destination: a folder. Touches nothing. Raises `UsageError` for any other form."""
    return _folder(url)


def check_writable(url: str, batch: str | None = None) -> None:
    """Make the destination and try to write there, before anything is paid for.

    Raises `UsageError` naming the place and the remedy if that fails, or if the folder holds the results of another
    batch than `batch` (None: don't look).
    """
    sink = _folder(url)
    folder = str(sink.path)
    try:
        make_private_dir(folder)
        with writing(folder), Aside(str(sink.path / SUCCESS)) as trial:
            trial.write(b"0" * 4096)
            trial.seal()
    except SinkError as error:
        raise UsageError(f"output {url!r}: {error}") from error
    remove_leftovers(folder)
    other = _holder(sink)
    if batch is not None and other not in (None, batch):
        raise UsageError(f"output {url!r} holds the results of batch {other}: choose another --to, or move them away")


def _folder(url: str) -> DirectorySink:
    if not url:
        raise UsageError("no output given: name a folder with --to")
    if "://" in url:
        raise UsageError(f"output {url!r}: databases and object stores are not supported yet; name a folder")
    place = Path(url)
    if url == "-" or (place.suffix in _LATER and not place.is_dir()):
        raise UsageError(f"output {url!r}: single files are not supported yet; name a folder")
    if place.exists() and not place.is_dir():
        raise UsageError(f"output {url!r} is a file: name a folder, which is made if it is missing")
    return DirectorySink(url)


def _holder(sink: DirectorySink) -> str | None:
    """Tell the batch whose results a folder holds, complete or not."""
    try:
        return (sink.path / SUCCESS).read_text("utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    try:
        with os.scandir(sink.parts) as entries:
            return next((batch_of(Path(entry).stem) for entry in entries if entry.name.endswith(".json")), None)
    except FileNotFoundError:
        return None

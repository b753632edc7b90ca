"""Write a batch's records into a single file of JSON lines: those of a folder's `results.jsonl`."""

from __future__ import annotations

from collections.abc import Callable

from paceline import jsonl
from paceline.sinks.base import Closing, Part
from paceline.sinks.single import FileSink


class JsonlSink(FileSink):
    """`x.jsonl`: a record per submission, in order."""

    def merge(self, closing: Closing, write: Callable[[bytes], object]) -> None:
        """Write the lines."""
        for entry in self.parts.merged(closing):
            if isinstance(entry, Part):
                write(jsonl.encode(entry.record) + b"\n")

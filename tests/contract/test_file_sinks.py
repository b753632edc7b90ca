"""Destinations that are files: the folder, `x.jsonl`, `x.csv`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from paceline.sinks.committed import is_committed
from tests.contract.sink_contract import SinkContract


def lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def content(folder: Path) -> dict[str, bytes]:
    """Return every file beneath a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestFolder(SinkContract):
    shows = ("records", "file_records")

    def fresh(self) -> str:
        number = len(list(self.folder.glob("out-*")))
        (self.folder / f"out-{number}").mkdir()
        return str(self.folder / f"out-{number}")

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        if not is_committed(place, batch):
            return None
        return {"records": lines(Path(place, "results.jsonl")), "file_records": lines(Path(place, "files.jsonl"))}

    def traces(self, place: str) -> object:
        return content(Path(place))

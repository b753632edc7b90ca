"""Destinations that are files: the folder, `x.jsonl`, `x.csv`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from paceline.errors import SinkBusy, SinkError, UsageError
from paceline.sinks.base import Part
from paceline.sinks.committed import is_committed
from paceline.sinks.csv_file import unanswered
from paceline.sinks.registry import open_sink
from paceline.tables import ANSWERS, CITATIONS, FILES, RUNS, Row, Table, rows_of
from tests.contract.sink_contract import SinkContract
from tests.contract.test_directory_sink import disk_with_room_for
from tests.support.read_csv import read_csv, without_empty_texts
from tests.support.sink_batch import BATCH, parts


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


class FileContract(SinkContract):
    """A single file with its parts beside it."""

    name: ClassVar[str]

    def fresh(self) -> str:
        number = len(list(self.folder.glob("out-*")))
        (self.folder / f"out-{number}").mkdir()
        return str(self.folder / f"out-{number}" / self.name)

    def traces(self, place: str) -> object:
        return content(Path(place).parent)

    def test_it_is_private_whatever_the_umask(self) -> None:
        before = os.umask(0)
        try:
            place = Path(self.made())
        finally:
            os.umask(before)

        for path in place.parent.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path

    @pytest.mark.parametrize("made", [Path.touch, lambda path: path.symlink_to("nowhere"), Path.mkdir])
    def test_what_is_there_already_is_refused_and_stays(self, made: Callable[[Path], object]) -> None:
        place = self.fresh()
        made(Path(place))
        before = Path(place).lstat()

        with pytest.raises(UsageError, match=r"--to"):
            open_sink(place).check(BATCH)

        assert Path(place).lstat() == before

    def test_a_file_that_appears_meanwhile_is_not_overwritten(self) -> None:
        place = self.fresh()
        sink = open_sink(place)
        sink.check(BATCH)
        for one in parts():
            sink.write(one)
        Path(place).write_text("mine")

        with pytest.raises(SinkError, match="move it away"):
            self.commit(sink)
        assert Path(place).read_text() == "mine"
        with pytest.raises(UsageError, match="move it away"):
            open_sink(place).check(BATCH)

        Path(place).unlink()
        self.commit(sink)
        self.assert_holds(place, parts())

    def test_a_missing_part_is_named_and_the_former_file_stays(self) -> None:
        place = self.made()
        before = Path(place).read_bytes()
        Path(f"{place}.parts", f"{parts()[1].submission}.json").unlink()

        with pytest.raises(SinkError, match=f"{parts()[1].submission}.*missing"):
            self.commit(open_sink(place))

        assert Path(place).read_bytes() == before

    def test_a_full_disk_leaves_the_former_file(self) -> None:
        place = self.made()
        before = content(Path(place).parent)

        with disk_with_room_for(100), pytest.raises(SinkError, match="no room to write"):
            self.commit(open_sink(place))

        assert content(Path(place).parent) == before

    def test_two_commits_at_once_are_refused_and_the_next_one_is_not(self) -> None:
        place = self.made()

        def meanwhile() -> bool:
            with pytest.raises(SinkBusy):
                self.commit(open_sink(place))
            return True

        self.commit(open_sink(place), still_open=meanwhile)
        self.commit(open_sink(place))

    def test_the_asides_of_others_in_its_folder_stay(self) -> None:
        place = self.fresh()
        other = Path(place).with_name(".other.0123.aside")
        other.touch()
        Path(place).with_name(f".{self.name}.0123456789ab.aside").write_text("left by a dead writer")

        for one in parts():
            open_sink(place).write(one)
        self.commit(open_sink(place))

        assert [path for path in Path(place).parent.iterdir() if path.name.endswith(".aside")] == [other]


class TestJsonl(FileContract):
    name = "out.jsonl"
    shows = ("records",)
    keeps_skipped = False

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        return {"records": lines(Path(place))} if Path(place).exists() else None


class TestCsvOfAnswers(FileContract):
    name = "out.csv"
    shows = ("answers",)
    keeps_skipped = False

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        return {"answers": read_csv(Path(place), ANSWERS)} if Path(place).exists() else None

    def wanted(self, kept: Sequence[Part], batch: str = BATCH) -> dict[str, list[Any]]:
        found: list[Row] = []
        for one in kept:
            answers = rows_of(one)["answers"]
            split = one.record["reason"] == "split"
            found += answers or ([] if split else [unanswered(one)])
        return {"answers": without_empty_texts(found)}


class CsvContract(FileContract):
    table: ClassVar[Table]

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        return {self.table.name: read_csv(Path(place), self.table)} if Path(place).exists() else None

    def wanted(self, kept: Sequence[Part], batch: str = BATCH) -> dict[str, list[Any]]:
        return {name: without_empty_texts(rows) for name, rows in super().wanted(kept, batch).items()}


class TestCsvOfFiles(CsvContract):
    name = "odd\n=name.files.csv"
    table = FILES
    shows = ("files",)


class TestCsvOfRuns(CsvContract):
    name = "runs.csv"
    table = RUNS
    shows = ("runs",)
    keeps_skipped = False
    most_kills = 8


class TestCsvOfCitations(CsvContract):
    name = "a.CITATIONS.csv"
    table = CITATIONS
    shows = ("citations",)
    keeps_skipped = False
    most_kills = 8


def test_without_pyarrow_its_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from paceline.sinks.registry import open_sink\n"
        "from paceline.errors import UsageError\n"
        "try: open_sink('/tmp/x.parquet')\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'paceline[parquet]'" in done.stdout

"""Object stores as destinations: the contract, and what only they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import SinkError, UsageError
from paceline.sinks.registry import check_writable, open_sink
from paceline.sinks.store import StoreSink
from paceline.stores.clients import StoreFailed
from tests.contract.sink_contract import SinkContract
from tests.support.s3 import Bucket, S3Server
from tests.support.sink_batch import BATCH, closing, part, parts, second_attempt

FINAL = ["_SUCCESS", "failures.jsonl", "files.jsonl", "manifest.jsonl", "results.jsonl", "summary.json"]


def rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


class TestStore(SinkContract):
    shows = ("records", "file_records")
    steps = ("put", "delete", "open_writer", "WritableFile.close")  # whatever changes anything at a store
    most_kills = 12

    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.s3 = s3

    def fresh(self) -> str:
        return f"s3://{self.s3.bucket().name}/some/out"

    def bucket_of(self, place: str) -> Bucket:
        return Bucket(self.s3.client, place.split("/")[2])

    def read(self, place: str, batch: str) -> dict[str, list[Any]] | None:
        content = self.bucket_of(place).content("some/out/")
        if content.get("_SUCCESS") != f"{batch}\n".encode():
            return None
        return {"records": rows(content["results.jsonl"]), "file_records": rows(content["files.jsonl"])}

    def traces(self, place: str) -> object:
        return self.bucket_of(place).content()


def test_it_holds_the_very_bytes_of_a_folder(bucket: Bucket, tmp_path: Path) -> None:
    url, folder = f"s3://{bucket.name}/out", tmp_path / "folder"
    for place in (url, str(folder)):
        sink = open_sink(place)
        for one in parts():
            sink.write(one)
        done = closing(tmp_path / "state")
        sink.take_manifest(BATCH, done.manifest)
        sink.commit(done)

    assert bucket.content("out/") == {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    assert not bucket.unfinished()


def test_a_commit_needs_nothing_of_the_machine_that_listed(bucket: Bucket, tmp_path: Path) -> None:
    sink = open_sink(f"s3://{bucket.name}/out")
    done = closing(tmp_path / "state")
    sink.take_manifest(BATCH, done.manifest)
    Path(done.manifest).unlink()
    for one in parts():
        sink.write(one)

    sink.commit(done)

    assert [key.removeprefix("out/") for key in bucket.keys("out/") if "parts/" not in key] == FINAL


def test_a_part_that_is_missing_or_damaged_leaves_the_former_output(bucket: Bucket, tmp_path: Path) -> None:
    sink = open_sink(f"s3://{bucket.name}/out")
    done = closing(tmp_path / "state")
    for one in parts():
        sink.write(one)
    sink.commit(done)
    key = f"out/parts/{parts()[1].submission}.json"
    before = {name: data for name, data in bucket.content().items() if name != key}

    bucket.delete(key)
    with pytest.raises(SinkError, match=rf"part s3://{bucket.name}/{key} is missing"):
        sink.commit(done)
    bucket.put(key, b"{}\n")
    with pytest.raises(SinkError, match=rf"s3://{bucket.name}/{key} is not the part"):
        sink.commit(done)

    assert {name: data for name, data in bucket.content().items() if name != key} == before


def test_a_batch_that_is_closed_while_it_is_committed_is_left_alone(bucket: Bucket, tmp_path: Path) -> None:
    sink = open_sink(f"s3://{bucket.name}/out")
    for one in parts():
        sink.write(one)
    asked = iter([True, False])

    sink.commit(closing(tmp_path / "state", still_open=lambda: next(asked)))

    assert not bucket.keys("out/_SUCCESS")


def test_a_large_result_goes_there_and_back_in_pieces(bucket: Bucket, tmp_path: Path) -> None:
    sink = open_sink(f"s3://{bucket.name}/out")
    kept = parts()
    files = kept[0].files
    big = part(1, [], data={"text": "naïve 🧾 " * 700_000})
    record = {**big.record, "files": kept[0].record["files"]}
    kept[0] = type(big)(big.submission, record, files)
    for one in kept:
        sink.write(one)

    sink.commit(closing(tmp_path / "state"))

    assert rows(bucket.get("out/results.jsonl"))[0] == record
    assert StoreSink(f"s3://{bucket.name}/out").find(big.submission) == kept[0]
    assert not bucket.unfinished()


def test_what_is_there_is_found_again(bucket: Bucket, tmp_path: Path) -> None:
    sink = StoreSink(f"s3://{bucket.name}")
    assert sink.holder() is None
    sink.take_manifest(BATCH, closing(tmp_path / "state").manifest)
    assert sink.holder() == BATCH
    for one in parts():
        sink.write(one)

    assert sorted(sink.names(BATCH)) == sorted(one.submission for one in parts())
    assert sink.find(parts()[0].submission) == parts()[0]
    assert sink.find(second_attempt().submission) != second_attempt()
    assert sink.find("b000000000-000001") is None
    assert not sink.is_committed(BATCH)
    sink.commit(closing(tmp_path / "state"))
    assert sink.is_committed(BATCH)
    assert not sink.is_committed("b000000000")


@pytest.mark.parametrize("name", ["results.jsonl", "summary.json", "manifest.jsonl", "batch.json"])
def test_somebody_elses_object_that_a_commit_would_replace_is_refused(bucket: Bucket, name: str) -> None:
    bucket.put(f"out/{name}", b'{"path":"a.pdf"}\n')

    check_writable(f"s3://{bucket.name}/out")
    with pytest.raises(UsageError, match=rf"has {name}, which is no batch's"):
        check_writable(f"s3://{bucket.name}/out", BATCH)
    assert bucket.content("out/") == {name: b'{"path":"a.pdf"}\n'}


def test_a_place_that_can_not_be_written_is_refused_before_anything_is_paid_for(s3: S3Server) -> None:
    with pytest.raises(UsageError, match="output 's3://nobody-has-this/out': no such bucket"):
        check_writable("s3://nobody-has-this/out")


def test_a_trial_leaves_nothing(bucket: Bucket) -> None:
    check_writable(f"s3://{bucket.name}/out", BATCH)

    assert bucket.keys() == []


@pytest.mark.parametrize("last", ["results.jsonl", "files.jsonl", "failures.jsonl", "summary.json", "_SUCCESS"])
def test_a_commit_that_ends_between_two_files_leaves_none_that_count(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    sink = StoreSink(f"s3://{bucket.name}/out")
    for one in parts():
        sink.write(one)
    sink.commit(closing(tmp_path / "state"))
    sink.write(second_attempt())
    with monkeypatch.context() as patch:
        writer, put = StoreSink._writer, StoreSink._put

        def ending(self: StoreSink, name: str) -> Any:
            return Ending() if name == last else writer(self, name)

        def putting(self: StoreSink, name: str, content: bytes | Path) -> None:
            if name == last:
                raise StoreFailed("gone")
            put(self, name, content)

        patch.setattr(StoreSink, "_writer", ending)
        patch.setattr(StoreSink, "_put", putting)
        with pytest.raises(SinkError, match="gone"):
            sink.commit(closing(tmp_path / "state"))

    assert not bucket.keys("out/_SUCCESS")
    sink.commit(closing(tmp_path / "state"))
    assert rows(bucket.get("out/results.jsonl"))[1] == dict(second_attempt().record)
    assert bucket.keys("out/_SUCCESS")


class Ending:
    """A file whose last piece doesn't arrive."""

    def write(self, data: bytes) -> None:
        """Take it."""

    def close(self) -> None:
        """Fail."""
        raise StoreFailed("gone")

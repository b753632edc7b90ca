"""What a batch is, on record beside its manifest."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from paceline.batch_file import (
    BatchFile,
    BatchFileDamaged,
    BatchFileOfOtherFormat,
    Listed,
    read_batch_file,
    record_batch,
    record_listed,
)
from paceline.errors import SinkError
from paceline.model import BatchSpec

SPEC = BatchSpec(
    source=os.fsdecode(b"/files/caf\xe9"),
    account="kolena",
    provider="kolena",
    agent="42",
    to=("/out/a", os.fsdecode(b"/out/\xff")),
    files_per_run=300,
    name="naïve",
    options={"due": "tomorrow"},
    priority=-3,
    address="https://example.test",
)
LISTED = Listed(1234, 5)


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    return str(tmp_path / "out" / "manifest.jsonl")


def place(manifest: str) -> Path:
    return Path(manifest).with_name("batch.json")


def test_a_batch_reads_back_with_every_name_and_the_same_id(manifest: str) -> None:
    record_batch(manifest, SPEC)

    found = read_batch_file(str(place(manifest)))

    assert found == BatchFile(SPEC)
    assert found.spec.batch_id() == SPEC.batch_id()
    place(manifest).read_text("utf-8")
    assert stat.S_IMODE(place(manifest).stat().st_mode) == 0o600


def test_a_batch_on_record_is_left_alone(manifest: str) -> None:
    record_batch(manifest, SPEC)
    record_listed(manifest, SPEC, LISTED)
    before = place(manifest).stat().st_ino

    record_batch(manifest, SPEC)
    record_listed(manifest, SPEC, LISTED)

    assert place(manifest).stat().st_ino == before
    assert read_batch_file(str(place(manifest))).listed == LISTED


def test_another_batchs_record_is_kept_once_there_is_a_manifest(manifest: str) -> None:
    other = replace(SPEC, agent="43")
    record_batch(manifest, other)
    Path(manifest).touch()

    with pytest.raises(SinkError, match="another --to"):
        record_batch(manifest, SPEC)

    assert read_batch_file(str(place(manifest))).spec == other
    record_batch(manifest, SPEC, ours=True)
    assert read_batch_file(str(place(manifest))).spec == SPEC


def test_a_damaged_record_is_written_anew_by_whoever_knows_the_batch(manifest: str) -> None:
    record_batch(manifest, SPEC)
    place(manifest).write_bytes(place(manifest).read_bytes()[:-20])

    record_batch(manifest, SPEC)

    assert read_batch_file(str(place(manifest))).spec == SPEC


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("to"),
        lambda value: value.update(format="1"),
        lambda value: value.update(agent="43"),
        lambda value: value.update(files_per_run="300"),
        lambda value: value.update(to=[1]),
        lambda value: value.update(listed={"manifest_bytes": True, "skipped": 0}),
        lambda value: value.update(listed=7),
        lambda value: value.update(options=None),
    ],
)
def test_a_record_that_is_not_what_was_written_is_refused_with_its_name(manifest: str, damage: object) -> None:
    record_batch(manifest, SPEC)
    value = json.loads(place(manifest).read_bytes())
    damage(value)  # type: ignore[operator]  # a function
    place(manifest).write_text(json.dumps(value))

    with pytest.raises(BatchFileDamaged, match=r"batch\.json"):
        read_batch_file(str(place(manifest)))


def test_a_newer_versions_record_is_refused_and_never_written_over(manifest: str) -> None:
    record_batch(manifest, SPEC)
    newer = json.loads(place(manifest).read_bytes()) | {"format": 2}
    place(manifest).write_text(json.dumps(newer))
    with pytest.raises(BatchFileOfOtherFormat, match="format 2, this paceline knows 1: use the version that wrote it"):
        read_batch_file(str(place(manifest)))
    with pytest.raises(BatchFileOfOtherFormat):
        record_batch(manifest, SPEC)
    with pytest.raises(BatchFileOfOtherFormat):
        record_listed(manifest, SPEC, LISTED)
    assert json.loads(place(manifest).read_bytes()) == newer

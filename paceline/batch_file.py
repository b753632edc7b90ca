"""Keep on record, beside the manifest, what a batch is: what its ledger is rebuilt from if Redis is lost.

`batch.json`: the fields of `BatchSpec` by name, `format`, `batch`, `cancelled`, and `listed`: null until the listing is
complete, then `{"manifest_bytes","skipped"}`, what the manifest came to. It holds no secret, and every path survives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paceline import jsonl
from paceline.durable import make_private_dir, replace_atomically
from paceline.errors import SinkError
from paceline.model import FORMAT_VERSION, BatchSpec

BATCH_FILE = "batch.json"


class BatchFileDamaged(SinkError):
    """A `batch.json` that can't be read as one."""


class BatchFileOfOtherFormat(SinkError):
    """A `batch.json` that another version of paceline wrote; it is never written over."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a complete manifest came to: its length in bytes and the number of skipped files in it."""

    manifest_bytes: int
    skipped: int


@dataclass(frozen=True, slots=True)
class BatchFile:
    """What stands in a `batch.json`. `listed` is None while the listing goes on; `cancelled`: nothing more is sent."""

    spec: BatchSpec
    listed: Listed | None = None
    cancelled: bool = False


def beside(manifest: str) -> str:
    """Name the `batch.json` that belongs to a manifest."""
    return str(Path(manifest).with_name(BATCH_FILE))


def read_batch_file(path: str) -> BatchFile:
    """Read a `batch.json`.

    Raises `FileNotFoundError`, or `BatchFileDamaged` or `BatchFileOfOtherFormat`, which name it and the remedy.
    """
    content = Path(path).read_bytes()
    try:
        value = jsonl.decode(content)
        if isinstance(value["format"], int) and value["format"] > FORMAT_VERSION:
            raise BatchFileOfOtherFormat(
                f"{path} is of format {value['format']}, this paceline knows {FORMAT_VERSION}:"
                " use the version that wrote it, or another --to"
            )
        found = _parse(value)
        if value["format"] == FORMAT_VERSION and value["batch"] == found.spec.batch_id():
            return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BatchFileDamaged(f"{path} is damaged: bring it back from a copy") from error
    raise BatchFileDamaged(f"{path} doesn't describe batch {value['batch']}: bring it back from a copy")


def find_batch_file(path: str) -> BatchFile | None:
    """Read a `batch.json`; None where there is none, or nothing that can be read.

    Raises `BatchFileOfOtherFormat`.
    """
    try:
        return read_batch_file(path)
    except (OSError, BatchFileDamaged):
        return None


def record_batch(manifest: str, spec: BatchSpec, *, ours: bool = False) -> None:
    """Put the batch on record durably; of one that is there, only the choices are changed. Raises `SinkError`.

    Another batch's is replaced only while there is no manifest, or if the manifest is known to be `ours`.
    """
    path = beside(manifest)
    found = find_batch_file(path)
    if found is not None and found.spec.batch_id() == spec.batch_id():
        if found.spec.choices != spec.choices:
            _write(path, replace(found, spec=replace(found.spec, choices=spec.choices)))
        return
    if found is not None and not ours and Path(manifest).exists():
        other = found.spec.batch_id()
        raise SinkError(f"{path} is of batch {other}, not {spec.batch_id()}: choose another --to")
    _write(path, BatchFile(spec))


def record_listed(manifest: str, spec: BatchSpec, listed: Listed) -> None:
    """Note that the listing is complete. Raises `SinkError`."""
    found = find_batch_file(beside(manifest))
    if found is None or found.spec.batch_id() != spec.batch_id():
        _write(beside(manifest), BatchFile(spec, listed))
    elif found.listed != listed:  # its choices may be newer than the caller's
        _write(beside(manifest), replace(found, listed=listed))


def record_cancelled(manifest: str, cancelled: bool) -> None:
    """Note that the batch is cancelled, or that it is to go on after all. Raises `SinkError`."""
    found = find_batch_file(beside(manifest))
    if found is not None and found.cancelled is not cancelled:
        _write(beside(manifest), replace(found, cancelled=cancelled))


def _write(path: str, file: BatchFile) -> None:
    spec = asdict(file.spec) | {"to": list(file.spec.to)}
    value = {"format": FORMAT_VERSION, "batch": file.spec.batch_id(), **spec}
    value["listed"] = asdict(file.listed) if file.listed else None
    value["cancelled"] = file.cancelled
    make_private_dir(str(Path(path).parent))
    replace_atomically(path, [jsonl.encode_pretty(value)])


def spec_of(value: Mapping[str, Any]) -> BatchSpec:
    """Read a batch's fields back, as `asdict` gave them. Raises `KeyError`, `TypeError` or `AttributeError`."""
    texts = {name: _text(value[name]) for name in ("source", "account", "provider", "agent", "name", "address")}
    return BatchSpec(
        **texts,
        to=tuple(map(_text, value["to"])),
        files_per_run=_number(value["files_per_run"]),
        options=_texts(value["options"]),
        priority=_number(value["priority"]),
        choices=_texts(value.get("choices", {})),
        settled=_texts(value.get("settled", {})),
    )


def _parse(value: dict[str, Any]) -> BatchFile:
    spec = spec_of(value)
    listed = value["listed"]
    done = listed and Listed(_number(listed["manifest_bytes"]), _number(listed["skipped"]))
    return BatchFile(spec, done, value.get("cancelled") is True)


def _texts(value: Mapping[str, object]) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in value.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value

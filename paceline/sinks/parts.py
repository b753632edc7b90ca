"""Lay out one submission's part so that it is JSON as a whole and final files are made of its lines unparsed.

    {"format":1,"submission":"b0…-000001","outcome":"succeeded","record":
    {…the line of results.jsonl…}
    ,"files":[
    {…a line of files.jsonl…},
    {…another…}
    ]}

A submission that was split in halves says `"split":true` in its first line and has no file lines.

JSON strings hold no raw newline, so each record is exactly one line: committing a batch copies bytes, one line in
memory at a time, and a hundred megabytes of results are never parsed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from paceline import jsonl
from paceline.errors import SinkError
from paceline.halving import REASON
from paceline.model import FORMAT_VERSION
from paceline.sinks.base import EXTRA_FILE_FIELDS, FILE_FIELDS, Part

_FILES = b',"files":[\n'
_END = b"]}\n"


def encode_part(part: Part) -> Iterator[bytes]:
    """Give a part file's bytes in pieces; the same part gives the same bytes."""
    head = {"format": FORMAT_VERSION, "submission": part.submission, "outcome": part.record["outcome"]}
    if part.record.get("reason") == REASON:
        head["split"] = True
    yield jsonl.encode(head)[:-1] + b',"record":\n'
    yield jsonl.encode(part.record)
    yield b"\n" + _FILES
    last = len(part.files) - 1
    for number, file in enumerate(part.files):
        yield jsonl.encode(_ordered(file)) + (b"\n" if number == last else b",\n")
    yield _END


def _ordered(file: Mapping[str, Any]) -> dict[str, Any]:
    return {key: file[key] for key in FILE_FIELDS} | {key: file[key] for key in EXTRA_FILE_FIELDS if key in file}


def decode_part(content: bytes) -> Part:
    """Read a whole part back. Raises `ValueError` if it isn't one of this format."""
    whole = jsonl.decode(content)
    if whole.get("format") != FORMAT_VERSION:
        raise ValueError("not a part of this format")
    return Part(whole["submission"], whole["record"], whole["files"])


def read_part(path: str, submission: str) -> Part:
    """Read the part of one submission from a file. Raises `FileNotFoundError`, or `ValueError` as `parse_part` does."""
    return parse_part(Path(path).read_bytes(), submission)


def parse_part(content: bytes, submission: str) -> Part:
    """Parse the part of one submission, in exactly the bytes that `encode_part` gives it: what can be committed.

    Raises `ValueError` if it is damaged or another submission's.
    """
    try:
        part = decode_part(content)
        at = 0
        for piece in encode_part(part):
            if not content.startswith(piece, at):
                raise ValueError("not laid out as a part")
            at += len(piece)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a part") from error
    if at != len(content) or part.submission != submission or part.record.get("submission") != submission:
        raise ValueError(f"not the part of {submission}")
    return part


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part file being copied: `record` is its line of `results.jsonl`; `files` gives those of `files.jsonl` once.

    `split` tells whether the files are with the submission's halves.
    """

    path: str
    outcome: str
    record: bytes
    files: Iterator[bytes]
    split: bool


@contextmanager
def open_part(path: str, submission: str) -> Iterator[OpenPart]:
    """Open the part of one submission for copying. Raises `SinkError` that names it if it is missing or another's."""
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(open(path, "rb"))
        except FileNotFoundError as error:
            raise missing_part(path, submission) from error
        yield begin_part(stream, path, submission)


def begin_part(stream: BinaryIO, path: str, submission: str) -> OpenPart:
    """Read the beginning of an open part, called `path`; the rest is read as its files are. Raises as `open_part`."""
    head = _parse_head(stream.readline())
    _refuse_newer(head, path)
    record = stream.readline()
    ours = head.get("format") == FORMAT_VERSION and head.get("submission") == submission
    if not ours or stream.readline() != _FILES:
        raise _foreign(path, submission)
    outcome, files = str(head.get("outcome")), _file_lines(stream, path, submission)
    return OpenPart(path, outcome, record, files, split=head.get("split") is True)


def missing_part(path: str, submission: str) -> SinkError:
    """Say that a part isn't where it should be."""
    return SinkError(f"part {path} is missing: export submission {submission} again")


def _file_lines(stream: BinaryIO, path: str, submission: str) -> Iterator[bytes]:
    for line in stream:
        if line.endswith(b"},\n"):
            yield line[:-2] + b"\n"
        elif line.endswith(b"}\n") and line != _END:
            yield line
        elif line == _END:
            return
        else:
            break
    raise _foreign(path, submission)


def _parse_head(line: bytes) -> dict[str, Any]:
    try:
        return jsonl.decode(line + b"null}")
    except ValueError:
        return {}


def _refuse_newer(head: Mapping[str, Any], path: str) -> None:
    format_ = head.get("format")
    if isinstance(format_, int) and format_ > FORMAT_VERSION:
        raise SinkError(
            f"{path} is of format {format_}, this paceline knows {FORMAT_VERSION}: use the version that wrote it"
        )


def _foreign(path: str, submission: str) -> SinkError:
    return SinkError(f"{path} is not the part of submission {submission}: move it away and export the submission again")

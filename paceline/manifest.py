"""Keep a batch's files on record, one line per file, in order and unchanging.

`{"path","size_bytes","mtime_ns","submission","name","reason"}`: a planned file has a submission and an upload name, a
skipped one a reason; where a file has a group or metadata, `"group"` and `"metadata"` (an object) follow. The lines of
one submission stand together. The ledger registers how many bytes of the file count; what stands behind them, left by
a crash, is cut off when planning goes on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any, BinaryIO, Self

from paceline import jsonl
from paceline.durable import open_private, writing
from paceline.errors import SinkError
from paceline.model import Metadata, PlannedFile, PlannedSubmission, SkippedFile, SkipReason, batch_of, submission_id

_BLOCK_BYTES = 1 << 16


class ManifestBusy(SinkError):
    """Another process is writing this manifest."""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One line. `name` is the upload name. Size and mtime are None where they couldn't be read."""

    path: str
    size_bytes: int | None
    mtime_ns: int | None
    submission: str | None
    name: str | None
    reason: SkipReason | None
    group: str = ""
    metadata: Metadata = ()

    @property
    def skipped(self) -> SkippedFile:
        """Return the row of a skipped file as that file."""
        reason = self.reason or SkipReason.UNREADABLE
        return SkippedFile(self.path, reason, self.size_bytes, self.mtime_ns, self.group, self.metadata)

    @property
    def planned(self) -> PlannedFile:
        """Return the row of a planned file as that file."""
        return PlannedFile(
            self.path, self.size_bytes or 0, self.mtime_ns or 0, self.name or "", self.group, self.metadata
        )


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of the file, in bytes: from `start` up to but not including `stop`."""

    start: int
    stop: int


class ManifestWriter:
    """Appends to a manifest, alone: a second writer raises `ManifestBusy`, wherever on this computer it is.

    `resume_at` is the registered length, as for `resume`; None, as in `locked`, leaves the file as it is until then.
    """

    def __init__(self, path: str, batch: str, resume_at: int | None = 0) -> None:
        self._path = path
        self._batch = batch
        self.offset = 0
        with writing(path):
            self._file = os.fdopen(open_private(path), "r+b", buffering=1 << 20)
        try:
            self._lock()
            if resume_at is not None:
                self.resume(resume_at)
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def locked(cls, path: str, batch: str) -> Self:
        """Take the manifest without changing it, so that its registered length can be read; `resume` comes next."""
        return cls(path, batch, None)

    def resume(self, resume_at: int) -> None:
        """Cut the file to its registered length and go on there.

        Raises `SinkError`, with the file left as it is, if it is shorter than that or holds something else than this
        batch's plan: commands with the same `--to` share the path.
        """
        with writing(self._path):
            if os.fstat(self._file.fileno()).st_size < resume_at:
                raise SinkError(f"{self._path} is shorter than when it was last registered: bring it back from a copy")
            self._refuse_others()
            self._file.truncate(resume_at)
            self._file.seek(resume_at)
        self.offset = resume_at

    def _lock(self) -> None:
        with writing(self._path):
            try:
                fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ManifestBusy(f"{self._path} is being written by another process planning this batch") from error

    def _refuse_others(self) -> None:
        """Look at the first planned row. Skipped files name no batch, and half a line is what a crash leaves."""
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                return
            try:
                submission = parse_row(line).submission
            except (ValueError, KeyError, TypeError) as error:
                text = f"{self._path} is not a manifest: choose another --to, or move that file away"
                raise SinkError(text) from error
            if submission is None:
                continue
            if (other := batch_of(submission)) != self._batch:
                raise SinkError(f"{self._path} holds the plan of batch {other}, not {self._batch}: choose another --to")
            return

    def write(self, entry: PlannedSubmission | SkippedFile) -> Extent:
        """Append the lines of a submission, or one skipped file's; return where they stand. Durable after `flush`."""
        if isinstance(entry, SkippedFile):
            lines = _skipped_line(entry)
        else:
            lines = _planned_lines(entry, submission_id(self._batch, entry.index))
        with writing(self._path):
            self._file.write(lines)
        extent = Extent(self.offset, self.offset + len(lines))
        self.offset = extent.stop
        return extent

    def flush(self) -> int:
        """Make everything written durable and return the length in bytes: what may be registered."""
        with writing(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self.offset

    def close(self) -> None:
        """Release the file. What was not flushed may be lost, and is planned again."""
        with writing(self._path):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_manifest(path: str, *, start: int = 0, stop: int | None = None) -> Iterator[ManifestRow]:
    """Read the rows in order, one at a time, from byte `start` (a line's beginning) up to byte `stop` or the end."""
    with open(path, "rb") as stream:
        stream.seek(start)
        left = None if stop is None else stop - start
        for line in stream:
            if left is not None:
                left -= len(line)
                if left < 0:
                    return
            yield parse_row(line)


def planned_files(path: str, extent: Extent) -> tuple[PlannedFile, ...]:
    """Read the files of one submission from where `ManifestWriter.write` said it put them."""
    return tuple(row.planned for row in read_manifest(path, start=extent.start, stop=extent.stop))


def last_path(path: str, offset: int, key: Callable[[str], Any] = lambda path: path.split("/")) -> str | None:
    """Return the path behind which the listing has to be taken up, or None to begin at the beginning.

    `key` is what the listing's order compares. `offset` is a registered length: right behind a submission, or the end
    of the listing. Skipped files met while a submission was being filled stand before it, so the greatest path is that
    of its last line or of the last line before it, if that is a skipped file's.
    """
    if not offset:
        return None
    with open(path, "rb") as stream:
        rows = map(parse_row, _lines_backwards(stream, offset))
        last = next(rows)
        if last.submission is None:
            return last.path
        before = next((row for row in rows if row.submission != last.submission), None)
    if before is None or before.submission is not None:
        return last.path
    return max(last.path, before.path, key=key)


def parse_row(line: bytes) -> ManifestRow:
    """Parse one line. Raises `ValueError` if it isn't a manifest's."""
    row = jsonl.decode(line)
    reason = row.get("reason")
    return ManifestRow(
        row["path"],
        row["size_bytes"],
        row["mtime_ns"],
        row["submission"],
        row["name"],
        None if reason is None else SkipReason(reason),
        row.get("group", ""),
        tuple(row.get("metadata", {}).items()),
    )


def _planned_lines(submission: PlannedSubmission, name: str) -> bytes:
    with suppress(UnicodeEncodeError):  # rare, and dear to look for in every name
        text = _format(submission, name, encode_basestring)
        if jsonl.is_harmless(text):
            return text.encode()
    return _format(submission, name, jsonl.quote).encode()


def _format(submission: PlannedSubmission, name: str, quote: Callable[[str], str]) -> str:
    return "".join(
        [
            f'{{"path":{quote(file.path)},"size_bytes":{file.size_bytes},"mtime_ns":{file.mtime_ns},'
            f'"submission":"{name}","name":{quote(file.upload_name)},"reason":null{_extras(file)}}}\n'
            for file in submission.files
        ]
    )


def _skipped_line(file: SkippedFile) -> bytes:
    row = {"path": file.path, "size_bytes": file.size_bytes, "mtime_ns": file.mtime_ns}
    row |= {"submission": None, "name": None, "reason": file.reason}
    return jsonl.encode(row)[:-1] + _extras(file).encode() + b"}\n"


def _extras(file: PlannedFile | SkippedFile) -> str:
    if not file.group and not file.metadata:
        return ""
    return "," + jsonl.encode({"group": file.group, "metadata": dict(file.metadata)}).decode()[1:-1]


def _lines_backwards(stream: BinaryIO, offset: int) -> Iterator[bytes]:
    """Give the lines before `offset`, the last one first."""
    rest = b""
    while offset:
        block = min(_BLOCK_BYTES, offset)
        offset -= block
        stream.seek(offset)
        first, *whole = (stream.read(block) + rest).split(b"\n")
        yield from (line for line in reversed(whole) if line)
        rest = first
    if rest:
        yield rest

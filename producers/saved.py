"""Keep a plan in a file, to be run later exactly as it stands.

The first line is an object: what the batch is, how it was cut, what it came to, when it was made and by which version;
last of all a digest. Behind it stands the manifest, line by line. The digest is that of every byte but its own, so no
plan that was changed is ever run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from paceline import jsonl
from paceline.batch_file import spec_of
from paceline.durable import replace_atomically
from paceline.errors import UsageError
from paceline.manifest import ManifestRow, read_manifest
from paceline.model import (
    BatchSpec,
    PlannedSubmission,
    SizeLimits,
    SkippedFile,
    SourceFile,
    index_of,
)
from paceline.times import iso, ms_of

if TYPE_CHECKING:
    from producers.planning import Resume, Tally

PLAN_FORMAT = 1
"""Of the file. A plan of another one is refused: it may mean something else."""

SUFFIX = ".plan"

_BEGINS = b'{"paceline_plan":'
_ENDS = re.compile(rb',"digest":"([0-9a-f]{64})"\}\n')
_DIGEST_BYTES = len(',"digest":""}\n') + 64
_LONGEST_HEADER = 1 << 24
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan came to."""

    submissions: int
    files: int
    skipped: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the manifest.

    `limits` are the account's, `weighing` what else of its settings decided the cuts, `empty_bytes` what a submission
    was taken to weigh without files. `made_ms` is in milliseconds since the epoch.
    """

    spec: BatchSpec
    limits: SizeLimits
    weighing: str
    empty_bytes: int
    facts: Facts
    made_ms: int
    version: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A plan that was found to be as it was saved; also the listing of its files.

    `start` is the byte at which the manifest begins, `stamp` what tells that the file wasn't written to since.
    """

    path: str
    header: Header
    start: int
    stamp: tuple[int, ...]

    @property
    def ordered(self) -> bool:
        """As it was cut: nothing is sorted, staged or listed."""
        return True

    def key(self, path: str) -> Any:
        """Return nothing to compare: a plan is taken up at a submission, never behind a path."""
        raise NotImplementedError(path)

    def entries(self, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
        """List its files in their order."""
        for row in self._rows(0):
            if row.submission is None:
                yield row.skipped
            else:
                yield SourceFile(row.path, row.size_bytes or 0, row.mtime_ns or 0, row.group, row.metadata)

    def planned(self, start: Resume) -> Iterator[PlannedSubmission | SkippedFile]:
        """Give the entries behind what is registered, as they were cut.

        Raises `UsageError` if what is registered isn't the beginning of this plan, or if the file is written to.
        """
        self.check_begun(start.manifest, start.offset)
        waiting: list[ManifestRow] = []
        for row in self._rows(start.offset):
            if waiting and row.submission != waiting[0].submission:
                yield _submission(waiting)
                waiting = []
            if row.submission is None:
                yield row.skipped
            else:
                waiting.append(row)
        if waiting:
            yield _submission(waiting)
        self._check_stamp()

    def check_begun(self, manifest: str, length: int, *, whole: bool = False) -> None:
        """Make sure that the first `length` bytes of a manifest, or the `whole` of it, are this plan's.

        Raises `UsageError`.
        """
        complete = not whole or length == self.stamp[2] - self.start
        if not complete or (length and not self._begins_like(manifest, length)):
            raise UsageError(
                f"batch {self.header.spec.batch_id()} was begun with another listing than that of plan {self.path!r},"
                " which can't be run any more; nothing of it was sent. Go on with the batch by its own command, or plan"
                " anew with another --to"
            )

    def _begins_like(self, manifest: str, length: int) -> bool:
        try:
            with open(self.path, "rb") as mine, open(manifest, "rb") as theirs:
                mine.seek(self.start)
                return all(
                    one == other for one, other in zip(_blocks(mine, length), _blocks(theirs, length), strict=False)
                )
        except FileNotFoundError:
            return True  # whoever opens the manifest says so, with the remedy

    def _rows(self, offset: int) -> Iterator[ManifestRow]:
        self._check_stamp()
        return read_manifest(self.path, start=self.start + offset)

    def _check_stamp(self) -> None:
        try:
            same = _stamp(os.stat(self.path)) == self.stamp  # noqa: PTH116 - a name of any bytes
        except OSError:
            same = False
        if not same:
            raise UsageError(
                f"plan {self.path!r} was changed, moved or removed while it was run; bring it back as it was"
            )


def looks_saved(text: str) -> bool:
    """Tell whether a SOURCE means a saved plan: by its name, or by how it begins."""
    if text == "-" or "://" in text:
        return False
    try:
        path = Path(text)
        if not path.is_file():
            return text.endswith(SUFFIX) and not path.is_dir()
        if text.endswith(SUFFIX):
            return True
        with path.open("rb") as file:
            return file.read(len(_BEGINS)) == _BEGINS
    except (OSError, ValueError):
        return False


def save_plan(path: str, header: Header, manifest: str) -> None:
    """Put a plan in place, as a whole or not at all. Raises `SinkError`."""
    first = _head(header)
    digest = hashlib.sha256(first)
    with open(manifest, "rb") as body:
        for block in _blocks(body):
            digest.update(block)
        body.seek(0)
        end = f',"digest":"{digest.hexdigest()}"}}\n'.encode()
        replace_atomically(path, chain([first, end], _blocks(body)))


def read_plan(path: str) -> Saved:
    """Read a saved plan and make sure of every byte of it. Raises `UsageError` that says what is wrong."""
    try:
        with open(path, "rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            line = file.readline(_LONGEST_HEADER)
            digest = hashlib.sha256(line[:-_DIGEST_BYTES])
            for block in _blocks(file):
                digest.update(block)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a name"
        raise UsageError(f"plan {path!r} can't be read ({reason}): check the name") from error
    if not line.startswith(_BEGINS):
        raise UsageError(
            f"{path!r} is no saved plan, or its first line was changed; nothing was sent. Make one with:"
            f" paceline plan SOURCE --agent … --to … --save FILE{SUFFIX}"
        )
    value = _value(line)
    if value is not None and value["paceline_plan"] != PLAN_FORMAT:
        raise UsageError(
            f"plan {path!r} is of another format ({str(value['paceline_plan'])[:20]}, this paceline knows"
            f" {PLAN_FORMAT}); nothing was sent. Run it with the version that made it, or plan anew"
        )
    end = _ENDS.fullmatch(line[-_DIGEST_BYTES:])
    if value is None or end is None or end[1].decode() != digest.hexdigest():
        raise UsageError(
            f"plan {path!r} was changed after it was saved, or is damaged (its digest doesn't fit); nothing was sent."
            " Plan anew, or bring the file back as it was"
        )
    try:
        return Saved(path, _header(value), len(line), stamp)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"plan {path!r} isn't one that this version can read; nothing was sent. Plan anew") from error


def facts_of(tally: Tally) -> Facts:
    """Return what a tally came to."""
    return Facts(tally.submissions, tally.files, tally.skipped.total(), tally.size_bytes)


def fingerprint(options: Mapping[str, str]) -> str:
    """Return what two accounts' further settings are compared by: a plan needn't quote them."""
    text = jsonl.encode(dict(sorted(options.items())))
    return hashlib.sha256(text).hexdigest()[:16]


def own_version() -> str:
    """Return the version of this paceline."""
    return version("paceline")


def _head(header: Header) -> bytes:
    """Write the first line as far as the digest."""
    value = {
        "paceline_plan": PLAN_FORMAT,
        "batch": header.spec.batch_id(),
        "spec": asdict(header.spec) | {"to": list(header.spec.to)},
        "limits": asdict(header.limits),
        "weighing": header.weighing,
        "empty_bytes": header.empty_bytes,
        "plan": asdict(header.facts),
        "made_at": iso(header.made_ms),
        "version": header.version,
    }
    return jsonl.encode(value)[:-1]


def _value(line: bytes) -> dict[str, Any] | None:
    try:
        return jsonl.decode(line)
    except ValueError:
        return None


def _header(value: Mapping[str, Any]) -> Header:
    spec = spec_of(value["spec"])
    if spec.batch_id() != value["batch"]:
        raise ValueError("it describes another batch")
    return Header(
        spec,
        SizeLimits(**value["limits"]),
        value["weighing"],
        value["empty_bytes"],
        Facts(**value["plan"]),
        ms_of(value["made_at"]),
        value["version"],
    )


def _submission(rows: list[ManifestRow]) -> PlannedSubmission:
    return PlannedSubmission(index_of(rows[0].submission or ""), tuple(row.planned for row in rows))


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _blocks(file: BinaryIO, length: int | None = None) -> Iterator[bytes]:
    """Give a file from where it stands, at most `length` bytes of it; an end before that is an empty block."""
    left = length
    while left is None or left > 0:
        block = file.read(_BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left))
        if not block and left is None:
            return
        yield block
        if not block:
            return
        left = None if left is None else left - len(block)

"""Leave out of a plan what was paid for already."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from paceline.errors import PacelineError
from paceline.known import KnownFiles, Scope, naming
from paceline.model import BatchSpec, SkippedFile, SkipReason, SourceFile
from paceline.roots import Root, open_root
from producers.staging import Group

AT_ONCE = 1000
"""Files looked up in one round trip."""

SOON_S = 0.2
"""A slow listing doesn't wait for a thousand: what is new is to be sent soon."""

BYTES_AT_ONCE = 64_000_000
"""The same where contents have to be read; a larger file goes alone."""

READERS = 4
"""Files read at once: hashing keeps a core busy each, stores far away answer several at a time."""

_BLOCK_BYTES = 1 << 20

One = TypeVar("One")


class Known(Protocol):
    """What succeeded before with this agent and options."""

    def sift(self, entries: Iterable[SourceFile | SkippedFile]) -> Iterator[SourceFile | SkippedFile]:
        """Give the entries in their order, known files as skipped ones."""

    def sift_groups(self, groups: Iterable[Group]) -> Iterator[Group | SkippedFile]:
        """Give the groups in their order; of one that is known as a whole its files, as skipped ones."""


class Sieve:
    """Sifts a listing by the marks that a ledger has. See `Known`.

    A file is known by whole name, size and time; with `contents`, by its bytes alone, which are read for that. A file
    that can't be read is left to what comes of it later. `compared` counts the files looked up so far, `left_out` those
    of them that are known. In memory are at most a thousand files, and a group.
    """

    def __init__(
        self,
        known: KnownFiles,
        spec: BatchSpec,
        *,
        contents: bool = False,
        open_source: Callable[[str], Root] = open_root,
    ) -> None:
        self.compared = 0
        self.left_out = 0
        self._known = known
        self._scope = Scope(spec)
        self._name = naming(spec.source)
        self._location = spec.source
        self._contents = contents
        self._open_source = open_source
        self._root: Root | None = None

    def sift(self, entries: Iterable[SourceFile | SkippedFile]) -> Iterator[SourceFile | SkippedFile]:
        """Give the entries in their order, known files as skipped ones."""
        with self._readers() as readers:
            for some in self._slices(entries, lambda entry: [entry] if isinstance(entry, SourceFile) else []):
                units = [(entry,) for entry in some if isinstance(entry, SourceFile)]
                reasons = iter(self._reasons(units, readers, grouped=False))
                for entry in some:
                    reason = next(reasons) if isinstance(entry, SourceFile) else None
                    yield entry if reason is None or isinstance(entry, SkippedFile) else _skipped(entry, reason)

    def sift_groups(self, groups: Iterable[Group]) -> Iterator[Group | SkippedFile]:
        """Give the groups in their order; of one that is known as a whole its files, as skipped ones."""
        with self._readers() as readers:
            for some in self._slices(groups, lambda group: group.files):
                reasons = self._reasons([group.files for group in some], readers, grouped=True)
                for group, reason in zip(some, reasons, strict=True):
                    if reason is None:
                        yield group
                        continue
                    yield from group.skipped
                    for file in group.files:
                        yield _skipped(file, reason, group.name)

    def _reasons(
        self, units: Sequence[Sequence[SourceFile]], readers: Executor | None, *, grouped: bool
    ) -> list[SkipReason | None]:
        """Return why each unit is left out, None for what isn't known."""
        scope = self._scope
        facts = [[(self._name(file.path), file.size_bytes, file.mtime_ns) for file in unit] for unit in units]
        marks = [scope.group(fact) if grouped else scope.file(*fact[0]) for fact in facts]
        unchanged = self._known.find(scope, marks)
        same = unchanged
        if readers is not None:
            same = self._same(list(self._digests(units, readers)), grouped=grouped)
        found = [
            (SkipReason.UNCHANGED if as_it_was else SkipReason.SAME_CONTENT) if known and unit else None
            for unit, known, as_it_was in zip(units, same, unchanged, strict=True)
        ]
        self.compared += sum(map(len, units))
        self.left_out += sum(len(unit) for unit, reason in zip(units, found, strict=True) if reason)
        return found

    def _same(self, digests: Sequence[Sequence[bytes | None]], *, grouped: bool) -> list[bool]:
        """Tell which units' contents are known; a unit of which something couldn't be read isn't."""
        scope = self._scope
        read = {at: [one for one in unit if one is not None] for at, unit in enumerate(digests) if None not in unit}
        marks = [scope.group_content(unit) if grouped else scope.content(unit[0]) for unit in read.values()]
        found = dict(zip(read, self._known.find(scope, marks), strict=True))
        return [found.get(at, False) for at in range(len(digests))]

    def _digests(self, units: Sequence[Sequence[SourceFile]], readers: Executor) -> Iterator[list[bytes | None]]:
        every = readers.map(self._digest, [file for unit in units for file in unit])
        for unit in units:
            yield [next(every) for _ in unit]

    def _digest(self, file: SourceFile) -> bytes | None:
        """Read a file; None if that fails, or if it isn't what was listed."""
        digest = hashlib.sha256()
        try:
            if self._root is None:
                self._root = self._open_source(self._location)
            with self._root.open(file) as stream:
                while block := stream.read(_BLOCK_BYTES):
                    digest.update(block)
        except (PacelineError, OSError):
            return None
        return digest.digest()

    @contextmanager
    def _readers(self) -> Iterator[Executor | None]:
        if not self._contents:
            yield None
            return
        with ThreadPoolExecutor(READERS, "paceline-known") as readers:
            try:
                yield readers
            finally:
                readers.shutdown(cancel_futures=True)

    def _slices(self, things: Iterable[One], files_of: Callable[[One], Sequence[SourceFile]]) -> Iterator[list[One]]:
        """Cut a stream into slices to look up at once."""
        some: list[One] = []
        number = size_bytes = 0
        begun = time.monotonic()
        for thing in things:
            some.append(thing)
            files = files_of(thing)
            number += len(files) or 1
            size_bytes += sum(file.size_bytes for file in files) if self._contents else 0
            if number >= AT_ONCE or size_bytes >= BYTES_AT_ONCE or time.monotonic() - begun > SOON_S:
                yield some
                some, number, size_bytes, begun = [], 0, 0, time.monotonic()
        if some:
            yield some


def _skipped(file: SourceFile, reason: SkipReason, group: str = "") -> SkippedFile:
    return SkippedFile(file.path, reason, file.size_bytes, file.mtime_ns, group or file.group, file.metadata)

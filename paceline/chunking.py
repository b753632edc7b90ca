"""Cut a stream of files into submissions under a provider's limits.

Greedy and in order: a submission takes files until the next one would break a limit. At a cut nothing is remembered, so
a listing taken up behind the last planned file gives the very submissions an uninterrupted one would have given.

Names. Results refer to files by the name they were uploaded under, so names are unique within a submission, compared as
case-blind file systems do: in Unicode's composed form, letter case aside. A file is uploaded under its base name; a
twin of one already there under its whole path, `b%2Freport.pdf`. What can't stand in a multipart header (control
characters, quotes, backslashes, bytes that aren't UTF-8) is percent-encoded, `caf%E9.txt`; in a name that is changed,
or that could be taken for a changed one, `%` becomes `%25`. So every name can be turned back: `path_of`.

Weights. Where files are written into something else, what counts against the limits on bytes is not their size, and is
known only by reading them. As long as upper bounds fit, nothing is read; the cuts are those of the true weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol
from unicodedata import normalize
from urllib.parse import quote_from_bytes, unquote_to_bytes

from paceline.model import PlannedFile, PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile

LONGEST_NAME_BYTES = 255
"""Of a twin's name: what file systems hold, in case the provider stores it in one."""

_UNSENDABLE = '\x00-\x1f\x7f-\x9f"\\\\\ud800-\udfff'
_LOOK_TWICE = re.compile(f"[{_UNSENDABLE}%]").search
_MUST_CHANGE = re.compile(f"[{_UNSENDABLE}]|%[0-9A-Fa-f]{{2}}").search
_CHANGE = re.compile(f"[{_UNSENDABLE}%/]+")


class Scale(Protocol):
    """Weighs files under their upload names."""

    @property
    def empty_bytes(self) -> int:
        """What a submission weighs without files."""

    def at_most(self, file: SourceFile, name: str) -> int:
        """Return what the file can weigh at the most; cheap."""

    def exactly(self, file: SourceFile, name: str) -> int | None:
        """Return what the file weighs, reading it; None if it can't be read."""


def chunk(
    entries: Iterable[SourceFile | SkippedFile],
    limits: SizeLimits,
    files_per_run: int,
    first_index: int = 1,
    scale: Scale | None = None,
) -> Iterator[PlannedSubmission | SkippedFile]:
    """Group files, in order, into submissions of at most `files_per_run` within `limits`, numbered from `first_index`.

    Every entry comes out exactly once. A skipped entry comes out at once, that is before the submission being filled
    when it was met, so at most one submission is held in memory. A file larger than a submission may be comes out as
    `too_large`. Right after a submission, every entry up to the greatest path given out so far has been given out:
    the place to resume at.

    With a `scale`, the limits on bytes hold for weights, and a file that has to be weighed and can't be read comes out
    as `unreadable`; one whose place was taken by its bound stays, and is found out when it is to be sent.
    """
    draft = open_draft(limits, files_per_run, scale)
    index = first_index
    for entry in entries:
        if isinstance(entry, SkippedFile):
            yield entry
        elif reason := draft.refusal(entry):
            yield SkippedFile(entry.path, reason, entry.size_bytes, entry.mtime_ns, entry.group, entry.metadata)
        else:
            if not draft.take(entry):
                yield draft.cut(index)
                index += 1
                draft.take(entry)
            if draft.full:
                yield draft.cut(index)
                index += 1
    if draft.files:
        yield draft.cut(index)


def open_draft(limits: SizeLimits, files_per_run: int, scale: Scale | None = None) -> Draft:
    """Begin a submission of at most `files_per_run` within `limits`; with a `scale`, by weight."""
    return Draft(limits, files_per_run) if scale is None else _WeighedDraft(limits, files_per_run, scale)


def upload_name(path: str) -> str:
    """Name a file by its base name, percent-encoded only where it must be."""
    name = path.rpartition("/")[2]
    return _encode(name) if _LOOK_TWICE(name) and _MUST_CHANGE(name) else name


def path_style_name(path: str) -> str:
    """Name a file by its whole path, `/` as `%2F`."""
    return _encode(path)


def path_of(name: str) -> str:
    """Turn an upload name back into what it was made from: a base name, or a twin's whole path."""
    return unquote_to_bytes(name).decode("utf-8", "surrogateescape")


def name_key(name: str) -> str:
    """Return what two upload names are compared by."""
    return name.lower() if name.isascii() else normalize("NFC", normalize("NFC", name).casefold())


class Draft:
    """A submission being filled. `files` are those it has; `full` once it may take no more of them."""

    def __init__(self, limits: SizeLimits, files_per_run: int) -> None:
        self._most_files = min(limits.files, files_per_run)
        self._most_bytes = limits.submission_bytes
        self._largest = limits.file_bytes if self._most_bytes is None else min(limits.file_bytes, self._most_bytes)
        if self._most_files < 1:
            raise ValueError("a submission holds at least one file")
        self._begin()

    def _begin(self) -> None:
        self.files: list[PlannedFile] = []
        self.full = False
        self._keys: set[str] = set()
        self._size_bytes = 0
        self._loose: list[tuple[SourceFile, str, int]] = []

    def refusal(self, file: SourceFile) -> SkipReason | None:
        """Say why a file can't be in any submission, None if it can."""
        return SkipReason.TOO_LARGE if file.size_bytes > self._largest else None

    def take(self, file: SourceFile) -> bool:
        """Add a file, or say that it doesn't fit. An empty draft takes any file."""
        size_bytes = self._size_bytes + file.size_bytes
        if self._most_bytes is not None and size_bytes > self._most_bytes and self.files:
            return False
        name = self._free_name(file.path)
        if name is None:
            return False
        self._add(file, name, size_bytes)
        return True

    def take_all(self, files: Sequence[SourceFile]) -> bool:
        """Add files that belong together, or say that they don't fit together; then nothing has changed."""
        number, size_bytes, loose = len(self.files), self._size_bytes, self._loose.copy()
        if all(not self.full and self.take(file) for file in files):
            return True
        self._keys.difference_update(name_key(file.upload_name) for file in self.files[number:])
        del self.files[number:]
        self._size_bytes, self._loose = size_bytes, loose
        self.full = number == self._most_files
        return False

    def _free_name(self, path: str) -> str | None:
        """Choose the name a file would have here; None where there is none for it."""
        name = upload_name(path)
        if name_key(name) not in self._keys:
            return name
        name = path_style_name(path)
        return None if name_key(name) in self._keys or len(name.encode()) > LONGEST_NAME_BYTES else name

    def _add(self, file: SourceFile, name: str, size_bytes: int) -> None:
        self._keys.add(name_key(name))
        self._size_bytes = size_bytes
        self.files.append(PlannedFile(file.path, file.size_bytes, file.mtime_ns, name, file.group, file.metadata))
        self.full = len(self.files) == self._most_files

    def cut(self, index: int) -> PlannedSubmission:
        """Return the submission and begin anew."""
        files = tuple(self.files)
        self._begin()
        return PlannedSubmission(index, files)


class _WeighedDraft(Draft):
    """The submission being filled, by weight. `_size_bytes` is an upper bound, exact once nothing is loose."""

    def __init__(self, limits: SizeLimits, files_per_run: int, scale: Scale) -> None:
        self._scale = scale
        self._last: tuple[str, str, int] | None = None
        super().__init__(limits, files_per_run)
        if self._most_bytes is not None:
            self._largest = min(limits.file_bytes, self._most_bytes - scale.empty_bytes)

    def _begin(self) -> None:
        super()._begin()
        self._size_bytes = self._scale.empty_bytes

    def refusal(self, file: SourceFile) -> SkipReason | None:
        """Say why a file can't be in any submission. Reads it only where its bound is too much, as such or here."""
        name = upload_name(file.path)
        bound = self._scale.at_most(file, name)
        if bound <= self._largest and self._fits(bound):
            return None
        weight = self._scale.exactly(file, name)
        if weight is None:
            return SkipReason.UNREADABLE
        self._last = (file.path, name, weight)
        return SkipReason.TOO_LARGE if weight > self._largest else None

    def take(self, file: SourceFile) -> bool:
        name = self._free_name(file.path)
        if name is None:
            return False
        if self._last is not None and self._last[:2] == (file.path, name):
            weight, loose = self._last[2], False
        else:
            weight = self._scale.at_most(file, name)
            loose = self._fits(weight)
            if not loose:
                weight = self._exactly(file, name, weight)
        while not self._fits(weight) and self._loose:
            other, its_name, its_bound = self._loose.pop()
            self._size_bytes -= its_bound - self._exactly(other, its_name, its_bound)
        if not self._fits(weight) and self.files:
            return False
        if loose:
            self._loose.append((file, name, weight))
        self._add(file, name, self._size_bytes + weight)
        return True

    def _fits(self, weight: int) -> bool:
        return self._most_bytes is None or self._size_bytes + weight <= self._most_bytes

    def _exactly(self, file: SourceFile, name: str, bound: int) -> int:
        weight = self._scale.exactly(file, name)
        return bound if weight is None else weight


def _encode(text: str) -> str:
    return _CHANGE.sub(lambda match: quote_from_bytes(match[0].encode("utf-8", "surrogateescape"), safe=""), text)

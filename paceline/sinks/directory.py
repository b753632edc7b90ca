"""Write a batch's records into a folder: a part per submission while it runs, final files when it is complete.

    parts/<submission>.json    each durable when its submission counts as exported
    results.jsonl              a record per submission, in order
    files.jsonl                a record per file of the manifest, in order, skipped ones too
    failures.jsonl             those lines of results.jsonl whose outcome is not `succeeded`
    manifest.jsonl             the manifest
    summary.json               the totals
    _SUCCESS                   last of all, with the batch's id; without it the other files don't count

Parts stay after the commit: they are what the final files can be made from again, and what a lost ledger is rebuilt
from. They take as much room as `results.jsonl` and `files.jsonl` together; with `_SUCCESS` there, they may be deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from paceline import jsonl
from paceline.batch_file import BATCH_FILE, find_batch_file
from paceline.durable import (
    Aside,
    alone_in,
    make_private_dir,
    remove_durably,
    remove_leftovers,
    replace_atomically,
    sync_dir,
    try_writing,
    writing,
)
from paceline.errors import SinkError, UsageError
from paceline.manifest import read_manifest
from paceline.sinks.base import Closing, Part
from paceline.sinks.merging import FAILURES, FILES, RESULTS, merge
from paceline.sinks.part_files import PartFiles
from paceline.sinks.parts import open_part

SUCCESS = "_SUCCESS"
MANIFEST, SUMMARY = "manifest.jsonl", "summary.json"
REPLACED = (RESULTS, FILES, FAILURES, SUMMARY)
"""What a commit puts in place besides the manifest, whose owner can be told."""


class DirectorySink:
    """A folder, made 0700 when it is first needed. See `paceline.sinks.base.Sink`."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self.parts = PartFiles(str(self.path / "parts"))

    def write(self, part: Part) -> None:
        """Put `parts/<submission>.json` in place; the same part gives the same bytes."""
        self.parts.write(part)

    def check(self, batch: str | None) -> None:
        """Make the folder and try to write there; raises `UsageError`."""
        folder = str(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"output {folder!r} is a file: name a folder, which is made if it is missing")
        try:
            make_private_dir(folder)
            try_writing(folder)
        except SinkError as error:
            raise UsageError(f"output {folder!r}: {error}") from error
        if batch is None:
            return
        other = self._holder()
        if other not in (None, batch):
            raise UsageError(
                f"output {folder!r} holds the results of batch {other}: choose another --to, or move them away"
            )
        described = find_batch_file(str(self.path / BATCH_FILE))
        if other is None and (described is None or described.spec.batch_id() != batch):
            # Nothing says that these are ours, and a commit would replace them.
            names = [*REPLACED, *([] if described else [BATCH_FILE]), *([] if self._has_manifest() else [MANIFEST])]
            if there := [name for name in names if os.path.lexists(self.path / name)]:
                raise UsageError(foreign(folder, there))

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Do nothing: the commit reads the manifest from the disk that all of this batch's machines share."""

    def _holder(self) -> str | None:
        """Tell the batch whose results the folder holds, complete or not."""
        try:
            return (self.path / SUCCESS).read_text("utf-8").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return self.parts.holder()

    def _has_manifest(self) -> bool:
        """Tell whether what has the manifest's name begins as one."""
        try:
            next(read_manifest(str(self.path / MANIFEST)), None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def commit(self, closing: Closing) -> None:
        """Make the final files from manifest and parts, and put them in place together.

        All are complete beside their places before the first is renamed; a `_SUCCESS` of an earlier commit is removed
        before that. Nothing is touched if the batch is no longer open. Raises `SinkError` naming the part that is
        missing, another batch's, or for other files than the manifest says; `SinkBusy` while another commit lasts.
        """
        make_private_dir(str(self.path))
        with alone_in(str(self.path)):
            if closing.still_open():
                self._commit(closing)

    def _commit(self, closing: Closing) -> None:
        with writing(str(self.path)), ExitStack() as stack:
            finals = {name: stack.enter_context(Aside(str(self.path / name))) for name in self._names(closing)}
            self._merge(closing, finals)
            finals[SUMMARY].write(jsonl.encode_pretty(closing.summary))
            for final in finals.values():
                final.seal()
            remove_durably(str(self.path / SUCCESS))
            for final in finals.values():
                final.publish()
            sync_dir(str(self.path))
        replace_atomically(str(self.path / SUCCESS), [closing.batch.encode() + b"\n"])
        remove_leftovers(str(self.path))
        remove_leftovers(self.parts.folder)

    def _names(self, closing: Closing) -> list[str]:
        own = self.path / MANIFEST
        in_place = own.exists() and own.samefile(closing.manifest)
        return [RESULTS, FILES, FAILURES, SUMMARY] + ([] if in_place else [MANIFEST])

    def _merge(self, closing: Closing, finals: Mapping[str, Aside]) -> None:
        with _open_manifest(closing.manifest) as manifest:
            lines = _copied(manifest, finals[MANIFEST]) if MANIFEST in finals else iter(manifest)
            merge(closing, lines, finals, lambda submission: open_part(self.parts.path_of(submission), submission))


def foreign(place: str, names: Sequence[str]) -> str:
    """Say that files stand in the way which aren't known to be any batch's."""
    one = len(names) == 1
    return (
        f"output {place!r} has {', '.join(names)}, which {'is' if one else 'are'} no batch's and would be replaced:"
        f" choose another --to, or move {'it' if one else 'them'} away"
    )


def _open_manifest(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        raise SinkError(f"manifest {path} is missing: run the same command again to list the files anew") from error


def _copied(lines: Iterable[bytes], copy: Aside) -> Iterator[bytes]:
    for line in lines:
        copy.write(line)
        yield line

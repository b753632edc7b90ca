"""Write a batch's records into one file, made of its parts when the batch is complete.

    x.csv                            appears when all is there, by rename, and is replaced by the next commit
    x.csv.parts/<submission>.json    each durable when its submission counts as exported
    x.csv.parts/_BATCH               the batch whose file x.csv is

Parts stay after the commit: what a retried submission changes is merged from them, and they are what `verify` and
`rebuild` read. A file of that name that isn't known to be this batch's is never replaced.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from paceline.durable import (
    Aside,
    alone_in,
    make_private_dir,
    remove_leftovers,
    replace_atomically,
    sync_dir,
    try_writing,
    writing,
)
from paceline.errors import SinkError, UsageError
from paceline.sinks.base import Closing, Part
from paceline.sinks.part_files import PartFiles
from paceline.sinks.places import parts_folder

OWNER = "_BATCH"
"""In the parts' folder. Written just before the file appears, so that one without it is somebody else's."""


def owner_of(path: str) -> str | None:
    """Tell the batch that the file at a destination was made of; None where there is none, or nobody knows."""
    folder = parts_folder(path)
    if folder is None or not os.path.lexists(path):
        return None
    try:
        return Path(folder, OWNER).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


class _Differs(Exception):  # no error: how a comparison ends early
    pass


class FileSink(ABC):
    """One file; its format is a subclass's. See `paceline.sinks.base.Sink`."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self.parts = PartFiles(f"{self.path}.parts")

    @abstractmethod
    def merge(self, closing: Closing, write: Callable[[bytes], object]) -> None:
        """Write the whole file, from `self.parts.merged(closing)`: the same bytes for the same parts."""

    def write(self, part: Part) -> None:
        """Put a part in place durably."""
        self.parts.write(part)

    def check(self, batch: str | None) -> None:
        """Make the folders and try to write there; raises `UsageError`."""
        shown, folder = repr(str(self.path)), str(self.path.parent)
        if self.path.is_dir():
            raise UsageError(f"output {shown} is a folder: name a file in it, or another --to")
        holder = self._holder()
        if batch is not None and holder not in (None, batch):
            raise UsageError(
                f"output {shown} holds the results of batch {holder}: choose another --to, or move it and"
                f" {self.path.name}.parts away"
            )
        if batch is not None and os.path.lexists(self.path) and owner_of(str(self.path)) != batch:
            raise UsageError(f"output {shown} exists, and isn't this batch's: choose another --to, or move it away")
        try:
            make_private_dir(folder)
            with writing(folder), Aside(str(self.path)) as trial:
                trial.write(b"0" * 4096)
                trial.seal()
            make_private_dir(self.parts.folder)
            try_writing(self.parts.folder)
        except SinkError as error:
            raise UsageError(f"output {shown}: {error}") from error

    def take_manifest(self, batch: str, manifest: str) -> None:  # noqa: B027  # right for all of them
        """Do nothing: the commit reads the manifest from the disk that all of this batch's machines share."""

    def _holder(self) -> str | None:
        """Tell the batch whose parts or results are here."""
        return owner_of(str(self.path)) or self.parts.holder()

    def commit(self, closing: Closing) -> None:
        """Make the file from manifest and parts, and put it in place.

        Nothing is touched if the batch is no longer open. Raises `SinkError` naming the part that is missing or another
        one's, or a file that is in the way; `SinkBusy` while another commit lasts.
        """
        make_private_dir(self.parts.folder)
        with alone_in(self.parts.folder):
            if closing.still_open():
                self._commit(closing)

    def _commit(self, closing: Closing) -> None:
        with writing(str(self.path)), Aside(str(self.path)) as final:
            self.merge(closing, final.write)
            final.seal()
            self._claim(closing.batch)
            final.publish()
            sync_dir(str(self.path.parent))
        remove_leftovers(str(self.path.parent), of=self.path.name)
        remove_leftovers(self.parts.folder)

    def matches(self, closing: Closing) -> bool:
        """Tell whether the file is what its parts come to, reading both. Raises `SinkError`, as a commit would."""
        with writing(str(self.path)), open(self.path, "rb") as stream:

            def compare(data: bytes) -> None:
                if stream.read(len(data)) != data:
                    raise _Differs

            try:
                self.merge(closing, compare)
            except _Differs:
                return False
            return not stream.read(1)

    def _claim(self, batch: str) -> None:
        if owner_of(str(self.path)) == batch:
            return
        if os.path.lexists(self.path):
            raise SinkError(f"{self.path} has appeared, and isn't of batch {batch}: move it away, and it goes on")
        replace_atomically(str(Path(self.parts.folder, OWNER)), [batch.encode() + b"\n"])

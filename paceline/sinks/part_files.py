"""A folder with one part file for each submission, and reading it in the manifest's order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from paceline.durable import make_private_dir, replace_atomically
from paceline.errors import SinkError
from paceline.halving import REASON, halves_of
from paceline.manifest import ManifestRow, read_manifest
from paceline.model import batch_of, index_of, submission_id
from paceline.sinks.base import Closing, Part
from paceline.sinks.parts import encode_part, read_part


class PartFiles:
    """The folder, made 0700 when the first part is written."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path_of(self, submission: str) -> str:
        """Name a submission's part."""
        return str(Path(self.folder, f"{submission}.json"))

    def write(self, part: Part) -> None:
        """Put a part in place durably, replacing an earlier one; the same part gives the same bytes."""
        make_private_dir(self.folder)
        replace_atomically(self.path_of(part.submission), encode_part(part))

    def find(self, submission: str) -> Part | None:
        """Return a submission's part; None where there is none, or a damaged one."""
        try:
            return read_part(self.path_of(submission), submission)
        except (OSError, ValueError):
            return None

    def holder(self) -> str | None:
        """Tell the batch that has a part here; None where there is none, or nobody may look."""
        with suppress(OSError), os.scandir(self.folder) as entries:
            return next((batch_of(Path(entry).stem) for entry in entries if entry.name.endswith(".json")), None)
        return None

    def names(self, batch: str) -> Iterator[str]:
        """Give the submissions of a batch that have a part here."""
        if Path(self.folder).is_dir():
            yield from (path.stem for path in Path(self.folder).glob(f"{batch}-*.json"))

    def merged(self, closing: Closing) -> Iterator[Part | ManifestRow]:
        """Give all parts and the rows of skipped files, in the manifest's order, one in memory at a time.

        A submission that was split is followed by its halves. Raises `SinkError` naming a part that is missing, or
        that has other files than the manifest.
        """
        index = 0
        try:
            rows = read_manifest(closing.manifest)
            for row in rows:
                if row.submission is None:
                    yield row
                    continue
                index += 1
                if index_of(row.submission) != index:
                    raise SinkError(f"{closing.manifest} and the parts disagree about the files of {row.submission}")
                parts = list(self._unfolded(row.submission))
                wanted = [file["path"] for part in parts for file in part.files]
                found = [row.path, *(other.path for other in islice(rows, max(len(wanted) - 1, 0)))]
                if found != wanted:
                    raise SinkError(
                        f"{self.path_of(row.submission)} has other files than the manifest: export its submission again"
                    )
                yield from parts
        except FileNotFoundError as error:
            raise SinkError(
                f"manifest {closing.manifest} is missing: run the same command again to list the files anew"
            ) from error
        if index != closing.submissions:
            raise SinkError(f"{closing.manifest} has {index} submissions, the ledger {closing.submissions}")

    def _unfolded(self, submission: str) -> Iterator[Part]:
        part = self._read(submission)
        yield part
        if part.record.get("reason") == REASON:
            for half in halves_of(index_of(submission)):
                yield from self._unfolded(submission_id(batch_of(submission), half))

    def _read(self, submission: str) -> Part:
        path = self.path_of(submission)
        try:
            return read_part(path, submission)
        except FileNotFoundError as error:
            raise SinkError(f"part {path} is missing: export submission {submission} again") from error
        except ValueError as error:
            raise SinkError(
                f"{path} is not the part of submission {submission}: move it away and export the submission again"
            ) from error

"""Weigh source files for planning, where what they weigh in a submission isn't their size."""

from __future__ import annotations

from collections.abc import Mapping

from paceline.beneath import OF_THIS_COMPUTER
from paceline.errors import FileChanged, FileMissing
from paceline.model import SourceFile
from paceline.providers.base import Weights
from paceline.roots import open_root


class FileScale:
    """A `paceline.chunking.Scale` of a source's files. They are opened as for uploading, beneath their root.

    `inputs` are the agent's further inputs, which every submission carries. Raises `SourceUnreachable` where the source
    itself is gone.
    """

    def __init__(self, weights: Weights, inputs: Mapping[str, str], location: str) -> None:
        self.empty_bytes = weights.empty(inputs)
        self._weights = weights
        self._root = open_root(location)

    def at_most(self, file: SourceFile, name: str) -> int:
        """Return what the file can weigh at the most."""
        return self._weights.at_most(name, file.path, file.size_bytes)

    def exactly(self, file: SourceFile, name: str) -> int | None:
        """Return what the file weighs; None if it can't be read, or isn't what was listed a moment ago."""
        try:
            with self._root.open(file) as stream:
                return self._weights.exactly(name, file.path, file.size_bytes, stream)
        except (FileMissing, FileChanged):
            return None
        except OSError as error:
            if error.errno in OF_THIS_COMPUTER:
                raise
            return None
